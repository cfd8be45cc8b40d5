/**
 * Nanoseconds of CPU time per routing decision: `node test/bench/routes.ts`. What is claimed: one service with 1 to 1,000 rules, and
 * 10 to 10,000 services, cost a request the same; and a service without routes costs a field read. Every line is the best of
 * several rounds, since other work on the machine only ever adds.
 */
import type { SnapshotImport } from "../../federation/model/snapshot.ts";
import type { SnapshotRoute, SnapshotRouteRule } from "../../federation/model/traffic-route.ts";
import type { Http1RequestView } from "../../gateway/dataplane/http1/request-view.ts";
import { compileEntry, decideRequest, type Dice } from "../../gateway/dataplane/routing/decide-request.ts";
import type { RouteTables } from "../../gateway/dataplane/routing/tables.ts";
import { EAST, id, importRule, westTables } from "../fakes/rules.ts";
import { bestNs } from "./cpu-time.ts";
import { requestView } from "./request-view.ts";

const ROUNDS = 12;
const CALLS = 200_000;
const WEB = id("west/shop/web");
const RULES_PER_ROUTE = 16;

const dice: Dice = {
  random: () => 0.4,
  split: () => 0.4,
  pick: (sources) => sources[0],
  session: () => undefined,
};

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

function tablesOf(services: number, rulesEach: number, withRoutes: boolean): RouteTables {
  const imports = Array.from({ length: services }, (_, index): SnapshotImport => {
    const name = { namespace: "shop", name: `s${index}` };
    const from = { ...name, cluster: "east", trustDomain: EAST };
    return importRule({ ...name, from, versions: ["v1", "v2"] });
  });
  const rules = imports.flatMap(({ name }) => routes(name, rulesEach));
  return westTables({ imports, ...(withRoutes ? { routes: rules } : {}) });
}

/** One entry per service, as a process has them; requests go to all of them in turns. */
function decisionNs(services: number, rulesEach: number, withRoutes = true): number {
  const tables = tablesOf(services, rulesEach, withRoutes);
  const entries = Array.from({ length: Math.min(services, 64) }, (_, index) => {
    const name = `s${Math.floor((index * services) / Math.min(services, 64))}`;
    return compileEntry(tables, WEB, { namespace: "shop", name }, 80);
  });
  const views = [0, 1, 2, 3].map((kind) => view(kind, rulesEach));
  return bestNs(ROUNDS, CALLS, (calls) => {
    let forwarded = 0;
    for (let call = 0; call < calls; call++) {
      const entry = entries[call % entries.length];
      const asked = views[call & 3];
      if (entry !== undefined && asked !== undefined && decideRequest(entry, asked, dice).kind === "forward")
        forwarded++;
    }
    return forwarded;
  });
}

/** An exact path with its header, a prefix, a path of no rule, and the root. */
function view(kind: number, rules: number): Http1RequestView {
  const middle = Math.max(0, Math.floor(rules / 2 / 6) * 6);
  const paths = [`/api/team-${middle}/items`, `/api/team-${middle + 1}/items/42?page=2`, "/other/place", "/"];
  return requestView(`GET ${paths[kind]} HTTP/1.1`, "Accept: */*", "x-canary: yes");
}

function line(name: string, ns: number): void {
  process.stdout.write(`${name.padEnd(44)} ${ns.toFixed(0).padStart(6)} ns\n`);
}

line("no TrafficRoute", decisionNs(1, 1, false));
for (const rules of [1, 10, 100, 1_000]) line(`1 service, rules: ${rules}`, decisionNs(1, rules));
for (const services of [10, 100, 1_000, 10_000])
  line(`10 rules each, services: ${services}`, decisionNs(services, 10));
