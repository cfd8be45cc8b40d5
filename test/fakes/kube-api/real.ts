import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KubeAccess } from "../../../agents/kubernetes/api/access.ts";
import { endWithUs } from "../bound-child.ts";
import { freePorts } from "../free-ports.ts";
import { until } from "../until.ts";
import { type IpFamily, SERVICE_RANGE_6 } from "./store.ts";

/** Names the binary of a real API server; without it these suites run against the double, and say so. */
export const KUBE_APISERVER = process.env["KUBE_APISERVER"];

export interface RealKubeApi {
  readonly access: KubeAccess;
  /** For `kubectl --kubeconfig`. */
  readonly kubeconfig: string;
  readonly directory: string;
  /** Access with another bearer token. */
  accessWith(token: string): KubeAccess;
  /** Kills the API server and its etcd, as one power cut does. */
  down(): Promise<void>;
  up(): Promise<void>;
  stop(): Promise<void>;
}

const ADMIN_TOKEN = "administrator";
const ADVERTISED_6 = "2001:db8::1";

export interface RealKubeOptions {
  /** Where it listens. */
  readonly host?: string;
  /** First three bytes of the addresses that Services get; 4,000 of `10.96` unless given. */
  readonly serviceRange?: string;
  /** Of the cluster's Services, its first one first; IPv4 unless given. */
  readonly families?: readonly IpFamily[];
  /** Admission plug-ins that are off by default. */
  readonly admission?: readonly string[];
}

/** etcd and a Kubernetes API server of its own; takes about ten seconds. */
export async function startRealKubeApi(options: RealKubeOptions = {}): Promise<RealKubeApi> {
  if (KUBE_APISERVER === undefined) throw new Error("KUBE_APISERVER names no binary");
  const directory = mkdtempSync(join(tmpdir(), "isthmus-kube-"));
  const [etcdPort, peerPort, apiPort] = await freePorts(3);
  const children: ChildProcess[] = [];
  const logs: string[] = [];
  const start = (command: string, args: readonly string[]): ChildProcess => {
    const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
    endWithUs(child);
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      logs.push(text);
      if (logs.length > 400) logs.shift();
    });
    children.push(child);
    return child;
  };
  const etcdUrl = `http://127.0.0.1:${etcdPort}`;
  const host = options.host ?? "127.0.0.1";
  const { families = ["IPv4"], serviceRange } = options;
  const ranges: Record<IpFamily, string> = {
    IPv4: serviceRange === undefined ? "10.96.0.0/20" : `${serviceRange}.0/24`,
    IPv6: `${SERVICE_RANGE_6}/112`,
  };
  const etcdArguments = [
    "--data-dir",
    join(directory, "etcd"),
    "--listen-client-urls",
    etcdUrl,
    "--advertise-client-urls",
    etcdUrl,
    "--listen-peer-urls",
    `http://127.0.0.1:${peerPort}`,
    "--initial-advertise-peer-urls",
    `http://127.0.0.1:${peerPort}`,
    "--initial-cluster",
    `default=http://127.0.0.1:${peerPort}`,
    "--unsafe-no-fsync",
    "--log-level",
    "error",
  ];
  writeFileSync(join(directory, "tokens.csv"), `${ADMIN_TOKEN},admin,admin,"system:masters"\n`);
  const key = join(directory, "account.key");
  spawnSync("openssl", ["genrsa", "-out", key, "2048"]);
  spawnSync("openssl", ["rsa", "-in", key, "-pubout", "-out", `${key}.pub`]);
  mkdirSync(join(directory, "certs"));
  const apiArguments = [
    "--etcd-servers",
    etcdUrl,
    "--secure-port",
    String(apiPort),
    "--bind-address",
    host,
    // Of the first family, or it does not start. Nobody asks for it here.
    "--advertise-address",
    families[0] === "IPv6" ? ADVERTISED_6 : host,
    "--cert-dir",
    join(directory, "certs"),
    "--token-auth-file",
    join(directory, "tokens.csv"),
    "--authorization-mode",
    "RBAC",
    "--service-account-issuer",
    "https://kubernetes.default.svc",
    "--service-account-signing-key-file",
    key,
    "--service-account-key-file",
    `${key}.pub`,
    "--service-cluster-ip-range",
    families.map((family) => ranges[family]).join(","),
    ...(options.admission === undefined ? [] : ["--enable-admission-plugins", options.admission.join(",")]),
    "--disable-admission-plugins",
    "ServiceAccount",
    "--storage-media-type",
    "application/json",
  ];
  const ca = () => readFileSync(join(directory, "certs", "apiserver.crt"), "utf8");
  const url = new URL(`https://${host}:${apiPort}`);
  const accessWith = (token: string): KubeAccess => ({
    url,
    ca: ca(),
    serverName: "kubernetes",
    token: () => token,
  });
  const down = async (): Promise<void> => {
    await Promise.all(
      children.splice(0).map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        child.kill("SIGKILL");
        await once(child, "exit");
      }),
    );
  };
  const up = async (): Promise<void> => {
    start("etcd", etcdArguments);
    const api = start(KUBE_APISERVER ?? "", apiArguments);
    await until("the API server is ready", 120_000, async () => {
      if (api.exitCode !== null) throw new Error(`it ended with ${api.exitCode}`);
      return (await isReady(url, ADMIN_TOKEN)) ? true : undefined;
    });
  };
  const stop = async (): Promise<void> => {
    await down();
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await up();
  } catch (error) {
    await stop();
    throw new Error(`${String(error)}\n${logs.join("").slice(-3000)}`, { cause: error });
  }
  const kubeconfig = join(directory, "kubeconfig");
  writeFileSync(kubeconfig, kubeConfig(url, ADMIN_TOKEN));
  return { access: accessWith(ADMIN_TOKEN), kubeconfig, directory, accessWith, down, up, stop };
}

function kubeConfig(url: URL, token: string): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "test",
    contexts: [{ name: "test", context: { cluster: "test", user: "admin" } }],
    clusters: [{ name: "test", cluster: { server: url.origin, "insecure-skip-tls-verify": true } }],
    users: [{ name: "admin", user: { token } }],
  });
}

async function isReady(url: URL, token: string): Promise<boolean> {
  const { request } = await import("node:https");
  return new Promise((resolve) => {
    const asked = request(
      {
        hostname: url.hostname,
        port: url.port,
        path: "/readyz",
        rejectUnauthorized: false,
        headers: { authorization: `Bearer ${token}` },
      },
      (response) => {
        response.resume();
        resolve(response.statusCode === 200);
      },
    );
    asked.on("error", () => resolve(false));
    asked.end();
  });
}
