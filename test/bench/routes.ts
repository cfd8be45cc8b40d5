/**
 * Nanoseconds of CPU time per routing decision: `node test/bench/routes.ts`. What is claimed: one service with 1 to 1,000 rules, and
 * 10 to 10,000 services, cost a request the same; and a service without routes costs a field read. Every line is the best of
 * several rounds, since other work on the machine only ever adds.
 */
import type { SnapshotImport, Snapshot } from "../../federation/model/snapshot.ts";
import type { TrustDomain } from "../../federation/model/spiffe-id.ts";
import { workloadSpiffeId } from "../../federation/model/spiffe-id.ts";
import type { SnapshotRoute, SnapshotRouteRule } from "../../federation/model/traffic-route.ts";
import { parseRequestHead } from "../../gateway/dataplane/http1/index.ts";
import { Http1RequestView } from "../../gateway/dataplane/http1/request-view.ts";
import { compileEntry, decideRequest, type Dice } from "../../gateway/dataplane/routing/decide-request.ts";
import { compileTables } from "../../gateway/dataplane/routing/tables.ts";

const ROUNDS = 12;
const CALLS = 200_000;
const WEST = "west.acme.mesh" as TrustDomain;
const EAST = "east.acme.mesh" as TrustDomain;
const WEB = workloadSpiffeId(WEST, "shop", "web");
const RULES_PER_ROUTE = 16;

const dice: Dice = { random: () => 0.4, split: () => 0.4, pick: (sources) => sources[0] };

/** Exact paths, prefixes, headers and methods in turns; the last rule takes the rest. */
function routes(service: string, count: number): readonly SnapshotRoute[] {
  const rules = Array.from({ length: count }, (_, index): SnapshotRouteRule => {
    const backendRefs = [
      { namespace: "shop", name: service, weight: 3 },
      { namespace: "shop", name: service, version: "v2" },
    ];
    if (index === count - 1) return { backendRefs };
    const value = `/api/team-${index}/items`;
    const type = index % 2 === 0 ? "Exact" : "PathPrefix";
    const headers = index % 3 === 0 ? [{ name: "x-canary", value: "yes" }] : [];
    return { matches: [{ path: { type, value }, headers }], backendRefs };
  });
  const chunks = Array.from({ length: Math.ceil(count / RULES_PER_ROUTE) }, (_, index) =>
    rules.slice(index * RULES_PER_ROUTE, (index + 1) * RULES_PER_ROUTE),
  );
  return chunks.map((chunk, index) => ({
    cluster: "west",
    namespace: "shop",
    name: `r${index}`,
    firstSeen: "2026-01-01T00:00:00Z",
    mode: "enforce",
    parents: [{ namespace: "shop", name: service }],
    rules: chunk,
  }));
}

function snapshot(services: number, rulesEach: number, withRoutes: boolean): Snapshot {
  const imports = Array.from({ length: services }, (_, index): SnapshotImport => {
    const name = { namespace: "shop", name: `s${index}` };
    const from = { ...name, cluster: "east", trustDomain: EAST };
    return {
      ...name,
      from,
      ports: [{ port: 80, protocol: "http" }],
      versions: ["v1", "v2"],
      workloads: ["*"],
    };
  });
  return {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "Snapshot",
    federation: "acme.mesh",
    cluster: "west",
    trustDomain: WEST,
    revision: 1,
    issuedAt: "2026-01-01T00:00:00Z",
    bundles: [],
    denied: [],
    peers: [],
    imports,
    exports: [],
    egress: { policies: [] },
    ...(withRoutes ? { routes: imports.flatMap(({ name }) => routes(name, rulesEach)) } : {}),
  };
}

/** One entry per service, as a process has them; requests go to all of them in turns. */
function decisionNs(services: number, rulesEach: number, withRoutes = true): number {
  const tables = compileTables(snapshot(services, rulesEach, withRoutes));
  const entries = Array.from({ length: Math.min(services, 64) }, (_, index) => {
    const name = `s${Math.floor((index * services) / Math.min(services, 64))}`;
    return compileEntry(tables, WEB, { namespace: "shop", name }, 80);
  });
  const views = [0, 1, 2, 3].map((kind) => view(kind, rulesEach));
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    let forwarded = 0;
    const began = process.threadCpuUsage();
    for (let call = 0; call < CALLS; call++) {
      const entry = entries[call % entries.length];
      const asked = views[call & 3];
      if (entry !== undefined && asked !== undefined && decideRequest(entry, asked, dice).kind === "forward")
        forwarded++;
    }
    const { user, system } = process.threadCpuUsage(began);
    if (forwarded !== CALLS) throw new Error(`${forwarded} of ${CALLS} were forwarded`);
    best = Math.min(best, ((user + system) * 1_000) / CALLS);
  }
  return best;
}

/** An exact path with its header, a prefix, a path of no rule, and the root. */
function view(kind: number, rules: number): Http1RequestView {
  const middle = Math.max(0, Math.floor(rules / 2 / 6) * 6);
  const paths = [`/api/team-${middle}/items`, `/api/team-${middle + 1}/items/42?page=2`, "/other/place", "/"];
  const text = `GET ${paths[kind]} HTTP/1.1\r\nHost: cart.shop\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\nx-canary: yes\r\n\r\n`;
  const bytes = Buffer.from(text);
  const outcome = parseRequestHead(bytes, 0, bytes.length);
  if (outcome.kind !== "head") throw new Error(outcome.kind);
  return new Http1RequestView().of(outcome.head);
}

function line(name: string, ns: number): void {
  process.stdout.write(`${name.padEnd(44)} ${ns.toFixed(0).padStart(6)} ns\n`);
}

line("no TrafficRoute", decisionNs(1, 1, false));
for (const rules of [1, 10, 100, 1_000]) line(`1 service, rules: ${rules}`, decisionNs(1, rules));
for (const services of [10, 100, 1_000, 10_000])
  line(`10 rules each, services: ${services}`, decisionNs(services, 10));
