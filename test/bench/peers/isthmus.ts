import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Chain, Hop, RunningChain, Site } from "../chain.ts";
import type { Started } from "../children.ts";
import { federationYaml } from "./federation-yaml.ts";

const CLI = join(import.meta.dirname, "../../../federation/cli/bin/isthmus.cjs");
// Ten thousand services take 12 s on two idle cores.
const READY_TIMEOUT_MS = 120_000;

/** The line `isthmus up -o json` prints once the whole federation serves. */
interface Ready {
  readonly processes: readonly { readonly role: string; readonly cluster?: string; readonly pid: number }[];
  readonly imports: readonly { readonly service: string; readonly address: string }[];
}

export function isReady(value: unknown): value is Ready {
  return (
    typeof value === "object" &&
    value !== null &&
    "kind" in value &&
    value.kind === "LocalFederationReady" &&
    "processes" in value &&
    Array.isArray(value.processes) &&
    "imports" in value &&
    Array.isArray(value.imports)
  );
}

/** Ten rules that a request has to be matched with, the last of which fits; each changes a field. */
function routeRules(): string {
  const rules = Array.from(
    { length: 9 },
    (_, at) => `    - name: rule-${at}
      matches: [{ path: { type: PathPrefix, value: /api/v${at} }, headers: [{ name: x-stage, value: s${at} }] }]
      filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: x-rule, value: "${at}" }] } }]`,
  );
  return [...rules, "    - name: rest"].join("\n");
}

/** Routes and policies of one service; the limit is one that no run reaches. */
function rulesYaml(name: string): string {
  return `---
apiVersion: isthmus.dev/v1alpha1
kind: TrafficRoute
metadata: { cluster: west, namespace: shop, name: ${name} }
spec:
  parentRefs: [{ name: ${name} }]
  rules:
${routeRules()}
---
apiVersion: isthmus.dev/v1alpha1
kind: RateLimit
metadata: { cluster: west, namespace: shop, name: ${name} }
spec:
  targetRefs: [{ kind: ServiceImport, name: ${name} }]
  limit: { requests: 900000, unit: Second }
---
apiVersion: isthmus.dev/v1alpha1
kind: BackendTrafficPolicy
metadata: { cluster: west, namespace: shop, name: ${name} }
spec:
  targetRefs: [{ kind: ServiceImport, name: ${name} }]
  circuitBreaker: { maxConnections: 4096, maxParallelRequests: 4096 }
`;
}

/** Two services of one workload (one speaks HTTP/2), each with ten rules, and three policies in force. */
function ruledYaml(agents: boolean, backendPort: number, backendHttp2Port: number): string {
  const services = { cart: backendPort, echo: backendHttp2Port };
  return `${federationYaml(agents, services)}---
apiVersion: isthmus.dev/v1alpha1
kind: EgressPolicy
metadata: { cluster: west, name: web }
spec:
  mode: enforce
  from: [{ workload: ns/shop/sa/web }]
  to: [{ service: { namespace: shop, name: cart } }, { service: { namespace: shop, name: echo } }]
${Object.keys(services).map(rulesYaml).join("")}`;
}

function firstLine(started: Started): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const give = (reason: string): void => reject(new Error(`isthmus up ${reason}: ${started.complaint()}`));
    const late = setTimeout(() => give(`was not ready in ${READY_TIMEOUT_MS / 1000} s`), READY_TIMEOUT_MS);
    started.process.once("exit", (code) => {
      clearTimeout(late);
      give(`ended with ${code}`);
    });
    started.process.stdout?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const end = text.indexOf("\n");
      if (end < 0) return;
      clearTimeout(late);
      resolve(text.slice(0, end));
    });
  });
}

/** The order in which a request meets the roles: west's agent and gateway, then east's gateway and agent. */
const PATH = ["west agent", "west gateway", "east gateway", "east agent"];

/** A federation as processes, and where workloads of west find its services. */
export interface RunningFederation {
  readonly hops: readonly Hop[];
  readonly aside: readonly Hop[];
  readonly portOf: (service: string) => number;
}

export async function startFederation(site: Site, id: string, yaml: string): Promise<RunningFederation> {
  const directory = join(site.children.directory, id);
  mkdirSync(directory);
  const file = join(directory, "federation.yaml");
  writeFileSync(file, yaml);
  const args = [CLI, "up", "-f", file, "--state", join(directory, "state"), "-o", "json"];
  args.push("--timeout", `${READY_TIMEOUT_MS / 1_000}s`);
  const started = site.children.start(site.cpu.proxies, process.execPath, args);
  const ready: unknown = JSON.parse(await firstLine(started));
  if (!isReady(ready)) throw new Error(`isthmus up printed something else than its ready line`);
  const named = ready.processes.map(({ role, cluster, pid }) => ({
    name: cluster ? `${cluster} ${role}` : role,
    pid,
  }));
  const onPath = (hop: Hop): boolean => PATH.includes(hop.name);
  return {
    hops: PATH.map((name) => named.find((hop) => hop.name === name)).filter((hop) => hop !== undefined),
    aside: [{ name: "up", pid: started.pid }, ...named.filter((hop) => !onPath(hop))],
    portOf: (name) =>
      Number(
        ready.imports
          .find(({ service }) => service.startsWith(`${name}.`))
          ?.address.split(":")
          .at(-1),
      ),
  };
}

export async function startIsthmus(site: Site, id: string, agents: boolean): Promise<RunningChain> {
  const yaml = ruledYaml(agents, site.backendPort, site.backendHttp2Port ?? 0);
  const { hops, aside, portOf } = await startFederation(site, id, yaml);
  return { port: portOf("cart"), http2Port: portOf("echo"), hops, aside };
}

function isthmusChain(hops: 2 | 4): Chain {
  const id = `isthmus-${hops}`;
  return {
    id,
    label: `Isthmus, ${hops} hops (${hops === 4 ? "agent, gateway, gateway, agent" : "gateway, gateway"})`,
    peer: "isthmus",
    hops,
    http: true,
    missing: () => (existsSync(CLI) ? undefined : "the isthmus command is not there"),
    start: (site) => startIsthmus(site, id, hops === 4),
  };
}

export const ISTHMUS_CHAINS: readonly Chain[] = [isthmusChain(2), isthmusChain(4)];
