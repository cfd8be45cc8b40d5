/**
 * What rules and services in force cost a request that has nothing to do with most of them, over two gateways:
 * `npm run bench:many -- --rounds 5`. Ten services with one rule, with 1,000 rules, and 10,000 services, each a federation of its
 * own, in interleaved rounds on one core. The routing decision alone is measured by `routes.ts`.
 */
import { cpus } from "node:os";
import { toolOptions } from "../tool-options.ts";
import { makeCertificates } from "./certificates.ts";
import type { Chain, Site } from "./chain.ts";
import { Children, complainOfAbsent } from "./children.ts";
import { type ActiveChain, measureSection, type Sample } from "./measure.ts";
import { parseOptions } from "./options.ts";
import { federationYaml } from "./peers/federation-yaml.ts";
import { startFederation } from "./peers/isthmus.ts";
import { startBackend } from "./peers/nginx.ts";
import { type Bar, judgeGrowth } from "./summary.ts";

interface Size {
  readonly id: string;
  readonly services: number;
  readonly rules: number;
}

const FEW: Size = { id: "few", services: 10, rules: 1 };
const MANY: readonly Size[] = [
  { id: "rules", services: 10, rules: 1_000 },
  { id: "services", services: 10_000, rules: 1 },
];
/** As many as one TrafficRoute may have. */
const ROUTE_RULES = 16;

function yamlOf({ services, rules }: Size, backend: number): string {
  const names = Array.from({ length: services }, (_, at) => [`s${at}`, backend] as const);
  const routes = Array.from({ length: Math.ceil(rules / ROUTE_RULES) }, (_, at) =>
    routeYaml(at * ROUTE_RULES, Math.min(ROUTE_RULES, rules - at * ROUTE_RULES)),
  );
  return federationYaml(false, Object.fromEntries(names)) + routes.join("");
}

/** Rules of the service that is called, by its owner; the first of all fits its requests, the others have paths of their own. */
function routeYaml(from: number, count: number): string {
  const rules = Array.from({ length: count }, (_, at) => {
    const path = from + at === 0 ? "/" : `/api/v${from + at}`;
    const edit = `{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: x-rule, value: "${at}" }] } }`;
    return `    - { name: rule-${at}, matches: [{ path: { type: PathPrefix, value: ${path} } }], filters: [${edit}] }`;
  });
  return `---
apiVersion: isthmus.dev/v1alpha1
kind: TrafficRoute
metadata: { cluster: east, namespace: shop, name: route-${from} }
spec:
  parentRefs: [{ name: s0 }]
  rules:
${rules.join("\n")}
`;
}

function chainOf(size: Size): Chain {
  return {
    id: size.id,
    label: `${size.services} services, ${size.rules} rules`,
    peer: "isthmus",
    hops: 2,
    http: true,
    missing: () => undefined,
    async start(site: Site) {
      const { hops, aside, portOf } = await startFederation(site, size.id, yamlOf(size, site.backendPort));
      return { port: portOf("s0"), hops, aside };
    },
  };
}

async function main(): Promise<number> {
  const { rounds, seconds } = toolOptions("npm run bench:many --", { rounds: 5, seconds: 3 });
  if (complainOfAbsent(["wrk", "nginx", "openssl", "taskset"], "wrk nginx-light openssl")) return 69;
  const children = new Children();
  return children.during(async () => {
    const cpu = { load: 0, proxies: cpus().length > 1 ? 1 : 0 };
    const certificates = makeCertificates(children.directory);
    const { port: backendPort } = await startBackend({ children, certificates, cpu });
    const site = { children, certificates, cpu, backendPort };
    const active: ActiveChain[] = [];
    for (const chain of [FEW, ...MANY].map(chainOf)) {
      const began = performance.now();
      active.push({ chain, running: await chain.start(site) });
      process.stdout.write(
        `${chain.label}: ready in ${((performance.now() - began) / 1_000).toFixed(1)} s\n`,
      );
    }
    const options = parseOptions(["--connections", "64", "--rounds", `${rounds}`, "--seconds", `${seconds}`]);
    if (options === "help") return 64;
    const samples = await measureSection(site, "requests", active, options, () => {});
    return report(samples);
  });
}

function report(samples: readonly Sample[]): number {
  for (const { chain, round, requests, hopMicros, errors } of samples) {
    const micros = hopMicros.map((one) => (one / requests).toFixed(1)).join(" + ");
    process.stdout.write(`round ${round + 1}, ${chain}: ${micros} µs/request, ${errors} errors\n`);
  }
  const bars: readonly Bar[] = MANY.map(({ id }) => judgeGrowth(id, FEW.id, samples));
  for (const { name, ratio, bound, limit, verdict } of bars)
    process.stdout.write(`${name}: ${ratio?.toFixed(2) ?? "-"} of few, ${bound} ${limit}: ${verdict}\n`);
  return bars.every(({ verdict }) => verdict === "holds") ? 0 : 1;
}

process.exitCode = await main();
