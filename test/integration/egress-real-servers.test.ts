import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { SnapshotEgressPolicy } from "../../federation/model/snapshot.ts";
import { SILENT_LOGGER } from "../../federation/model/log.ts";
import { type FileSecrets, openFileSecrets } from "../../gateway/discovery/file-secrets.ts";
import { systemClock } from "../../gateway/process/clock.ts";
import { BATCH, type EgressScene, startEgress, WEB } from "../fakes/egress-scene.ts";
import { createOutsideCa, type OutsideCa, type Pair } from "../fakes/outside-pki.ts";
import { until } from "../fakes/until.ts";

const installed = (...names: readonly string[]): boolean =>
  names.every((name) =>
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].some((folder) => existsSync(join(folder, name))),
  );
const NGINX = installed("nginx");
const OPENSSL = installed("openssl");
// A namespace is a machine of its own: it needs root and iproute2.
const NAMESPACES = process.getuid?.() === 0 && installed("ip", "nginx") && canMakeNamespaces();

function canMakeNamespaces(): boolean {
  try {
    execFileSync("ip", ["netns", "add", `isthmus-try-${process.pid}`], { stdio: "ignore" });
    execFileSync("ip", ["netns", "del", `isthmus-try-${process.pid}`], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** A skip that says why. */
const because = (runs: boolean, reason: string, name: string): string =>
  runs ? name : `${name} (skipped: ${reason})`;

const folder = mkdtempSync(join(tmpdir(), "isthmus-egress-"));
const children: ChildProcess[] = [];
let nextPort = 21_000 + (process.pid % 500) * 10;

/** Runs in a namespace of its own where `prefix` says so. */
function start(prefix: readonly string[], command: string, args: readonly string[]): ChildProcess {
  const [file = command, ...rest] = [...prefix, command, ...args];
  const child = spawn(file, rest, { stdio: "ignore" });
  children.push(child);
  return child;
}

const accepts = (host: string, port: number): Promise<true | undefined> =>
  new Promise((resolve) => {
    const socket = connect({ host, port }, () => (socket.destroy(), resolve(true)));
    socket.once("error", () => resolve(undefined));
  });

function write(name: string, { certificatePem, privateKeyPem }: Pair): void {
  const at = join(folder, name);
  mkdirSync(at, { recursive: true });
  writeFileSync(join(at, "tls.key"), privateKeyPem);
  writeFileSync(join(at, "tls.crt"), certificatePem);
}

/** nginx that demands a client certificate and says whose it was. */
async function startNginx(
  name: string,
  host: string,
  site: Pair,
  clients: OutsideCa,
  prefix: readonly string[] = [],
): Promise<number> {
  const port = nextPort++;
  const at = join(folder, `nginx-${name}`);
  mkdirSync(at, { recursive: true });
  writeFileSync(join(at, "site.crt"), site.certificatePem);
  writeFileSync(join(at, "site.key"), site.privateKeyPem);
  writeFileSync(join(at, "clients.crt"), clients.certificatePem);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((what) => `${what}_temp_path ${at}/${what};`)
    .join(" ");
  writeFileSync(
    join(at, "nginx.conf"),
    `${process.getuid?.() === 0 ? "user root;" : ""} worker_processes 1; daemon off; pid ${at}/pid; error_log ${at}/error.log;
events { worker_connections 512; }
http { access_log off; ${temporary}
  server { listen ${host}:${port} ssl http2; ssl_certificate ${at}/site.crt; ssl_certificate_key ${at}/site.key;
    ssl_client_certificate ${at}/clients.crt; ssl_verify_client on;
    location / { default_type text/plain; return 200 "hello $ssl_client_s_dn"; } } }\n`,
  );
  start(prefix, "nginx", ["-p", at, "-c", join(at, "nginx.conf"), "-e", join(at, "error.log")]);
  await until(`nginx listens on ${port}`, 10_000, () => accepts(host, port));
  return port;
}

const mutual = (name: string, hostname: string, cidr: string, port: number): SnapshotEgressPolicy => ({
  name,
  mode: "enforce",
  from: ["ns/shop/sa/*"],
  to: [],
  external: [{ hostname, cidr, ports: [port] }],
  tls: {
    mode: "mutual",
    validation: { caCertificateRefs: [{ name: "sites" }] },
    clientCertificates: [
      { workload: WEB, clientCertificateRef: { name: "web" } },
      { workload: BATCH, clientCertificateRef: { name: "batch" } },
    ],
  },
});

describe.each([
  ["without agents", false],
  ["through agents", true],
])("servers that others wrote, %s", (_what, agents) => {
  const sites = createOutsideCa("sites");
  const clients = createOutsideCa("clients");
  let scene: EgressScene;
  let secrets: FileSecrets;

  beforeAll(async () => {
    mkdirSync(join(folder, "sites"), { recursive: true });
    writeFileSync(join(folder, "sites", "ca.crt"), sites.certificatePem);
    write("web", clients.issue({ commonName: "web-1" }));
    write("batch", clients.issue({ commonName: "batch-1" }));
    secrets = await openFileSecrets({ directory: folder, clock: systemClock, log: SILENT_LOGGER });
    scene = await startEgress({ agents, policies: [], secretSource: secrets });
  });
  afterAll(async () => {
    secrets.stop();
    await scene.stop();
    for (const child of children.splice(0)) child.kill("SIGTERM");
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  const ask = async (workload: string, name: string, path = "/"): Promise<string> => {
    const client = await scene.dial(workload, name);
    client.send(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    const text = await client.receives(/hello[^]*|ISTH-\d+|Ciphers/);
    client.destroy();
    return /CN=([^,\r\n]+)/.exec(text)?.[1] ?? /ISTH-\d+/.exec(text)?.[0] ?? text;
  };

  it.skipIf(!NGINX)(
    because(
      NGINX,
      "nginx is not installed",
      "nginx with ssl_verify_client sees each caller's own certificate, and the new one within 2 s of its file, with no request failed",
    ),
    async () => {
      const port = await startNginx(
        `a-${agents}`,
        "127.0.0.1",
        sites.issue({ dns: ["nginx.example.com"] }),
        clients,
      );
      scene.dns.answer("nginx.example.com", ["127.0.0.1"]);
      scene.apply(mutual("nginx", "nginx.example.com", "127.0.0.1/32", port));
      const name = `nginx.example.com:${port}`;
      expect(await ask(WEB, name)).toBe("web-1");
      expect(await ask(BATCH, name)).toBe("batch-1");

      const heard: string[] = [];
      let running = true;
      const loop = async (): Promise<void> => {
        while (running) heard.push(await ask(WEB, name));
      };
      const loops = Array.from({ length: 4 }, loop);
      await until("load", 5_000, () => (heard.length > 50 ? true : undefined));
      write("web", clients.issue({ commonName: "web-2" }));
      const replacedAt = performance.now();
      await until("the new certificate", 5_000, () => (heard.at(-1) === "web-2" ? true : undefined));
      expect(performance.now() - replacedAt).toBeLessThan(2_000);
      const seen = heard.length;
      await until("load goes on", 5_000, () => (heard.length > seen + 50 ? true : undefined));
      running = false;
      await Promise.all(loops);
      expect(new Set(heard)).toEqual(new Set(["web-1", "web-2"]));
      expect(new Set(heard.slice(seen + 4))).toEqual(new Set(["web-2"]));
      expect(await ask(BATCH, name)).toBe("batch-1");
      write("web", clients.issue({ commonName: "web-1" }));
    },
  );

  it.skipIf(!OPENSSL)(
    because(
      OPENSSL,
      "openssl is not installed",
      "openssl s_server is reached with SNI and its certificate verified",
    ),
    async () => {
      const port = nextPort++;
      write(`s-server-${agents}`, sites.issue({ dns: ["s-server.example.com"] }));
      const at = join(folder, `s-server-${agents}`);
      start([], "openssl", [
        "s_server",
        "-accept",
        `127.0.0.1:${port}`,
        "-cert",
        join(at, "tls.crt"),
        "-key",
        join(at, "tls.key"),
        "-servername",
        "s-server.example.com",
        "-servername_fatal",
        "-cert2",
        join(at, "tls.crt"),
        "-key2",
        join(at, "tls.key"),
        "-www",
        "-quiet",
      ]);
      await until("s_server listens", 10_000, () => accepts("127.0.0.1", port));
      scene.dns.answer("s-server.example.com", ["127.0.0.1"]);
      scene.apply({
        ...mutual("s", "s-server.example.com", "127.0.0.1/32", port),
        tls: { mode: "originate", validation: { caCertificateRefs: [{ name: "sites" }] } },
      });
      expect(await ask(WEB, `s-server.example.com:${port}`)).toContain("Ciphers");
    },
  );

  it.skipIf(!NAMESPACES)(
    because(
      NAMESPACES,
      "needs root, iproute2 and nginx",
      "nginx in a network namespace is reached by its private address, which the policy names",
    ),
    async () => {
      const id = `${process.pid % 200}${agents ? 1 : 0}`;
      const [name, outer, inner] = [`isthmus-e${id}`, `ie${id}a`, `ie${id}b`];
      const subnet = `10.211.${process.pid % 250}`;
      const ip = (...args: readonly string[]) => execFileSync("ip", args, { stdio: "pipe" });
      ip("netns", "add", name);
      try {
        ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name);
        ip("addr", "add", `${subnet}.1/24`, "dev", outer);
        ip("link", "set", outer, "up");
        ip("-n", name, "addr", "add", `${subnet}.2/24`, "dev", inner);
        ip("-n", name, "link", "set", inner, "up");
        const site = sites.issue({ dns: ["far.example.com"] });
        const port = await startNginx(`n-${agents}`, `${subnet}.2`, site, clients, [
          "ip",
          "netns",
          "exec",
          name,
        ]);
        scene.dns.answer("far.example.com", [`${subnet}.2`]);
        scene.apply(mutual("far", "far.example.com", `${subnet}.0/24`, port));
        expect(await ask(WEB, `far.example.com:${port}`)).toBe("web-1");
        const { cidr: _, ...unopened } = mutual("far", "far.example.com", "", port).external?.[0] ?? {};
        scene.apply({ ...mutual("far", "far.example.com", "", port), external: [unopened] });
        expect(await ask(WEB, `far.example.com:${port}`)).toBe("ISTH-2203");
      } finally {
        for (const child of children.splice(0)) child.kill("SIGTERM");
        ip("netns", "del", name);
        try {
          ip("link", "del", outer);
        } catch {
          // It went with its peer.
        }
      }
    },
  );
});
