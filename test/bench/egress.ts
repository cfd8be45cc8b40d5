/**
 * What one request to an external host costs where the gateway originates TLS: ours against nginx and HAProxy doing the same,
 * and ours with one rule against ours with 5,000. `npm run bench:egress -- --quick` for a look.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startDnsServer } from "../fakes/dns-server.ts";
import { until } from "../fakes/until.ts";
import { HOP_NAME, makeCertificates } from "./certificates.ts";
import type { Chain, RunningChain, Site } from "./chain.ts";
import { freePorts } from "../fakes/free-ports.ts";
import { Children, isInstalled, waitForPort } from "./children.ts";
import { runLoad } from "./load.ts";
import { type ActiveChain, measureSection, type Sample } from "./measure.ts";
import { parseOptions } from "./options.ts";
import { costRatio } from "./summary.ts";
import { isReady } from "./peers/isthmus.ts";

const CLI = join(import.meta.dirname, "../../federation/cli/bin/isthmus.cjs");
const MANY_RULES = 5_000;
const PER_POLICY = 500;
const BARS = [
  { chain: "isthmus", against: "nginx", most: 0.8 },
  { chain: "isthmus", against: "haproxy", most: 0.8 },
  { chain: "isthmus-5000", against: "isthmus", most: 1.1 },
];

interface EgressSite extends Site {
  /** Of the external host: TLS, HTTP/1.1 and HTTP/2. */
  readonly outsidePort: number;
  readonly dns: string;
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  const absent = ["wrk", "nginx", "haproxy", "openssl"].filter((tool) => !isInstalled(tool));
  if (options === "help" || absent.length > 0) {
    process.stderr.write(
      `the egress bench needs ${absent.join(", ") || "no arguments, or those of npm run bench"}\n`,
    );
    return options === "help" ? 0 : 69;
  }
  const children = new Children();
  const dns = await startDnsServer(3600);
  dns.answer(HOP_NAME, ["127.0.0.1"]);
  return children
    .during(async () => {
      const cpu = { load: options.loadCpu, proxies: options.proxyCpu };
      const certificates = makeCertificates(children.directory);
      const [backendPort = 0, outsidePort = 0] = await freePorts(2);
      const site = { children, certificates, cpu, backendPort, outsidePort, dns: dns.address };
      await startOutside(site);
      const chains = CHAINS.filter(({ id }) => options.only.length === 0 || options.only.includes(id));
      const active: ActiveChain[] = [];
      for (const chain of chains) active.push({ chain, running: await chain.start(site) });
      for (const { running } of active)
        await runLoad(site, running, { section: "requests", connections: 64, path: "/", headers: [] }, 3);
      const wanted = { ...options, connections: [64] };
      const samples = await measureSection(site, "requests", active, wanted, () => {});
      return report(samples, options.assert);
    })
    .finally(() => dns.stop());
}

function report(samples: readonly Sample[], asserts: boolean): number {
  for (const { chain, round, requests, seconds, hopMicros, p99Ms, errors } of samples) {
    const micros = hopMicros.reduce((sum, one) => sum + one, 0);
    const cost = (micros / requests).toFixed(1);
    const rate = Math.round(requests / seconds);
    process.stdout.write(
      `${chain.padEnd(14)} round ${round + 1}  ${cost} µs/request  ${rate}/s  p99 ${p99Ms} ms  ${errors} errors\n`,
    );
  }
  let failed = samples.some(({ errors }) => errors > 0);
  for (const { chain, against, most } of BARS) {
    const ratio = costRatio(samples, chain, against);
    if (ratio === undefined) continue;
    const holds = ratio <= most;
    failed ||= !holds;
    process.stdout.write(
      `${chain} / ${against}: ${ratio.toFixed(2)} (at most ${most}): ${holds ? "holds" : "falls short"}\n`,
    );
  }
  return asserts && failed ? 1 : 0;
}

/** 100 bytes over TLS, by HTTP/1.1 or HTTP/2 as the client offers; the count of requests on a plain port. */
async function startOutside(site: EgressSite): Promise<void> {
  const { certificates, backendPort, outsidePort, children } = site;
  const directory = join(children.directory, "outside");
  mkdirSync(directory);
  const file = join(directory, "nginx.conf");
  const answer = `location = / { default_type text/plain; return 200 "${"a".repeat(100)}"; } location = /count { stub_status; }`;
  const tls = `ssl_certificate ${certificates.certificate}; ssl_certificate_key ${certificates.key}; ssl_protocols TLSv1.3;`;
  writeFileSync(
    file,
    `${frame(directory)}
  keepalive_requests 1000000000; keepalive_timeout 1h;
  server { listen 127.0.0.1:${backendPort}; ${answer} }
  server { listen 127.0.0.1:${outsidePort} ssl http2 backlog=4096; http2_max_concurrent_streams 1000; ${tls} ${answer} } }\n`,
  );
  await waitForPort(
    outsidePort,
    children.start(site.cpu.load, "nginx", ["-p", directory, "-c", file, "-e", "stderr"]),
  );
}

function frame(directory: string): string {
  const user = process.getuid?.() === 0 ? "user root;" : "";
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((what) => `${what}_temp_path ${directory}/${what};`)
    .join(" ");
  return `${user} worker_processes 1; daemon off; pid ${directory}/pid; error_log stderr error;
events { worker_connections 8192; accept_mutex off; }
http { access_log off; tcp_nodelay on; ${temporary}`;
}

async function startNginx(site: EgressSite): Promise<RunningChain> {
  const [port = 0] = await freePorts(1);
  const directory = join(site.children.directory, "nginx-egress");
  mkdirSync(directory);
  const file = join(directory, "nginx.conf");
  writeFileSync(
    file,
    `${frame(directory)}
  keepalive_requests 1000000000; keepalive_timeout 1h;
  upstream next { server 127.0.0.1:${site.outsidePort}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 1h; }
  server { listen 127.0.0.1:${port} backlog=4096; location / {
    proxy_pass https://next; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host ${HOP_NAME};
    proxy_ssl_trusted_certificate ${site.certificates.authority}; proxy_ssl_verify on; proxy_ssl_name ${HOP_NAME};
    proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.3; } } }\n`,
  );
  const started = site.children.start(site.cpu.proxies, "nginx", [
    "-p",
    directory,
    "-c",
    file,
    "-e",
    "stderr",
  ]);
  await waitForPort(port, started);
  return { port, hops: [{ name: "nginx", pid: started.pid }], aside: [] };
}

async function startHaproxy(site: EgressSite, alpn: string): Promise<RunningChain> {
  const [port = 0] = await freePorts(1);
  const file = join(site.children.directory, `haproxy-egress-${port}.cfg`);
  writeFileSync(
    file,
    `global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
  http-reuse always
frontend in
  bind 127.0.0.1:${port} backlog 4096
  default_backend next
backend next
  http-request set-header Host ${HOP_NAME}
  server next 127.0.0.1:${site.outsidePort} ssl ca-file ${site.certificates.authority} verify required sni str(${HOP_NAME}) verifyhost ${HOP_NAME} ssl-min-ver TLSv1.3 pool-purge-delay 1h${alpn}
`,
  );
  const started = site.children.start(site.cpu.proxies, "haproxy", ["-db", "-f", file]);
  await waitForPort(port, started);
  return { port, hops: [{ name: "haproxy", pid: started.pid }], aside: [] };
}

/** The rule that is used, and others beside it: for the same caller, for other paths of the host, for other names, for ranges. */
function policies(port: number, rules: number): string {
  // The last of equals: its name comes after those of the others.
  const own = policy("own", [`{ hostname: ${HOP_NAME}, cidr: 127.0.0.1/32, ports: [${port}] }`]);
  const others: string[] = [];
  for (let first = 1; first < rules; first += PER_POLICY) {
    const targets = Array.from({ length: Math.min(PER_POLICY, rules - first) }, (_, index) => {
      const number = first + index;
      if (number % 3 === 0) return `{ cidr: "198.${18 + (number % 2)}.${number >> 8}.${number & 255}/32" }`;
      if (number % 3 === 1) return `{ hostname: "*.n${number}.bench.test" }`;
      return `{ hostname: ${HOP_NAME}, cidr: 127.0.0.1/32, ports: [${port}], http: { paths: [{ type: PathPrefix, value: /t${number} }] } }`;
    });
    others.push(policy(`others-${first}`, targets));
  }
  return [own, ...others].join("---\n");
}

function policy(name: string, targets: readonly string[]): string {
  return `apiVersion: isthmus.dev/v1alpha1
kind: EgressPolicy
metadata: { cluster: west, name: ${name} }
spec:
  mode: enforce
  from: [{ workload: ns/shop/sa/web }]
  to:
${targets.map((target) => `    - ${target}`).join("\n")}
  tls: { mode: originate, minVersion: "1.3", validation: { caCertificateRefs: [{ name: bench-ca }] } }
`;
}

async function startIsthmus(site: EgressSite, rules: number): Promise<RunningChain> {
  const directory = join(site.children.directory, `isthmus-${rules}`);
  const state = join(directory, "state");
  const secrets = join(state, "clusters", "west", "secrets", "bench-ca");
  mkdirSync(secrets, { recursive: true });
  writeFileSync(join(secrets, "ca.crt"), readFileSync(site.certificates.authority));
  const file = join(directory, "federation.yaml");
  writeFileSync(
    file,
    `apiVersion: isthmus.dev/v1alpha1
kind: LocalFederation
metadata: { name: bench.mesh }
spec:
  registry: { listen: "127.0.0.1:0" }
  clusters: [{ name: west, agents: false, workloads: [{ namespace: shop, name: web }] }]
---
${policies(site.outsidePort, rules)}`,
  );
  process.env["ISTHMUS_DNS_SERVERS"] = site.dns;
  const args = [CLI, "up", "-f", file, "--state", state, "-o", "json"];
  const started = site.children.start(site.cpu.proxies, process.execPath, args);
  let output = "";
  started.process.stdout?.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  const ready = await until(`isthmus up: ${started.complaint()}`, 60_000, () => {
    const [line = "", ...rest] = output.split("\n");
    return rest.length > 0 ? (JSON.parse(line) as unknown) : undefined;
  });
  if (!isReady(ready)) throw new Error("isthmus up printed something else than its ready line");
  const book = join(state, "clusters", "west", "addresses.json");
  const port = await until("the way out has an address", 30_000, () => addressIn(book, site.outsidePort));
  await waitForPort(port, started);
  const isGateway = ({ role }: { readonly role: string }) => role === "gateway";
  return {
    port,
    hops: ready.processes.filter(isGateway).map(({ pid }) => ({ name: "gateway", pid })),
    aside: ready.processes.filter((one) => !isGateway(one)).map(({ role, pid }) => ({ name: role, pid })),
  };
}

function addressIn(book: string, port: number): number | undefined {
  try {
    const entries = JSON.parse(readFileSync(book, "utf8")) as Record<string, string>;
    return Number(entries[`ns/shop/sa/web address:${HOP_NAME} ${port}`]?.split(":").at(-1)) || undefined;
  } catch {
    return undefined;
  }
}

function chain(id: string, label: string, start: (site: EgressSite) => Promise<RunningChain>): Chain {
  return {
    id,
    label,
    peer: "isthmus",
    hops: 2,
    http: true,
    missing: () => undefined,
    start: (site) => start(site as EgressSite),
  };
}

const CHAINS: readonly Chain[] = [
  chain("isthmus", "Isthmus, one rule", (site) => startIsthmus(site, 1)),
  chain("isthmus-5000", `Isthmus, ${MANY_RULES} rules`, (site) => startIsthmus(site, MANY_RULES)),
  chain("nginx", "nginx, HTTP/1.1 to the outside", startNginx),
  chain("haproxy", "HAProxy, HTTP/1.1 to the outside", (site) => startHaproxy(site, "")),
  chain("haproxy-h2", "HAProxy, HTTP/2 to the outside", (site) => startHaproxy(site, " alpn h2")),
];

process.exitCode = await main();
