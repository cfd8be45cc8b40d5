import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { KubeAccess } from "../../agents/kubernetes/api/access.ts";
import { PODS } from "../../agents/kubernetes/api/resource-type.ts";
import type { LogFields } from "../../federation/model/log.ts";
import { endWithUs } from "./bound-child.ts";
import type { KubeApi } from "./kube-world.ts";
import { unwrap } from "./pki.ts";
import type { RegistryProcess } from "./registry-process.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const ENTRIES = {
  gateway: join(ROOT, "gateway/main.ts"),
  controller: join(ROOT, "agents/kubernetes/main.ts"),
  agent: join(ROOT, "agents/main.ts"),
} as const;
export type Role = keyof typeof ENTRIES;

export const ISSUER_AUDIENCE = "isthmus-issuer";

/** What a shell would run. */
export const memberCommand = (role: Role): readonly string[] => [process.execPath, ENTRIES[role]];

export interface TokenWish {
  readonly space?: string;
  readonly account: string;
  readonly pod?: string;
  readonly audience?: string;
}

/** As the kubelet gets it for a projected volume: by TokenRequest, bound to the pod. */
export async function podToken(api: KubeApi, wish: TokenWish): Promise<string> {
  const { space = "isthmus-system", account, pod, audience = ISSUER_AUDIENCE } = wish;
  if (api.double !== undefined) {
    const token = `token-${space}-${account}-${pod}-${audience}`;
    const { nodeName } = ((pod === undefined ? undefined : (await api.get(PODS, space, pod))?.spec) ??
      {}) as {
      nodeName?: string;
    };
    const extra = {
      "authentication.kubernetes.io/pod-name": [pod],
      "authentication.kubernetes.io/node-name": [nodeName],
    };
    const user = {
      username: `system:serviceaccount:${space}:${account}`,
      ...(pod === undefined ? {} : { extra }),
    };
    api.double.tokens.set(token, { user, audiences: [audience] });
    return token;
  }
  const bound = pod === undefined ? {} : { boundObjectRef: { apiVersion: "v1", kind: "Pod", name: pod } };
  const answer = await api.client.request({
    method: "POST",
    path: `/api/v1/namespaces/${space}/serviceaccounts/${account}/token`,
    body: {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      spec: { audiences: [audience], expirationSeconds: 3600, ...bound },
    },
  });
  return (unwrap(answer) as { status: { token: string } }).status.token;
}

/** For `ISTHMUS_KUBERNETES` and kubectl. */
export function writeKubeconfig(path: string, access: KubeAccess): string {
  const { url, ca, serverName } = access;
  const token = access.token();
  const cluster = {
    server: url.origin,
    ...(ca === undefined ? {} : { "certificate-authority-data": Buffer.from(ca).toString("base64") }),
    ...(serverName === undefined ? {} : { "tls-server-name": serverName }),
  };
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "c",
    contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
    clusters: [{ name: "c", cluster }],
    users: [{ name: "u", user: token === undefined ? {} : { token } }],
  };
  writeFileSync(path, JSON.stringify(config));
  return path;
}

/** A new cluster's join token, as `isthmus cluster register` prints it. */
export async function registerCluster(registry: RegistryProcess, name: string): Promise<string> {
  const { token } = unwrap(await registry.client.register(name));
  if (token === undefined) throw new Error(`${name} got no token`);
  return token;
}

export interface MemberProcess {
  readonly child: ChildProcess;
  readonly log: LogFields[];
  ended(): boolean;
}

/** One of our processes, as its image starts it. */
export function startMember(
  role: Role,
  env: NodeJS.ProcessEnv,
  command = memberCommand(role),
): MemberProcess {
  const [program = "", ...args] = command;
  const child = spawn(program, args, {
    stdio: ["ignore", "ignore", "pipe"],
    // Compiled once for all starts: what is tried is not how long a start takes.
    env: {
      PATH: process.env["PATH"],
      NODE_COMPILE_CACHE: join(tmpdir(), "isthmus-test-compile-cache"),
      ISTHMUS_LISTEN: "127.0.0.1:0",
      ...env,
    },
  });
  endWithUs(child);
  const log: LogFields[] = [];
  let rest = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) log.push(line.startsWith("{") ? (JSON.parse(line) as LogFields) : { line });
  });
  return { child, log, ended: () => child.exitCode !== null || child.signalCode !== null };
}

/** What a process keeps resident, in MiB. */
export function residentMiB({ pid }: ChildProcess): number {
  const [, kib = "0"] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kib) / 1024;
}
