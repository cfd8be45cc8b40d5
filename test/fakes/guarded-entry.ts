import type { Snapshot, SnapshotBackend, SnapshotRateLimit } from "../../federation/model/snapshot.ts";
import type { TrustDomain } from "../../federation/model/spiffe-id.ts";
import { Metrics } from "../../gateway/dataplane/io/counters.ts";
import type { Readiness } from "../../gateway/dataplane/io/destination-guard.ts";
import { EntryGuard } from "../../gateway/dataplane/io/entry-guard.ts";
import { EventLog } from "../../gateway/dataplane/io/event-log.ts";
import { Guard } from "../../gateway/dataplane/io/guard.ts";
import type { EntryForward } from "../../gateway/dataplane/routing/decide.ts";
import { compileEntry } from "../../gateway/dataplane/routing/decide-request.ts";
import type { RequestView } from "../../gateway/dataplane/routing/request-view.ts";
import { createManualClock } from "./manual-clock.ts";
import { createMemoryLog } from "./memory-log.ts";
import { CART, id, importRule, westTables } from "./rules.ts";

export const BACKEND: SnapshotBackend = { name: "west/shop/policy", service: CART, mode: "enforce" };

export const LIMIT: SnapshotRateLimit = {
  name: "west/shop/limit",
  service: CART,
  from: [],
  requests: 1,
  unitMs: 1_000,
  burst: 1,
  scope: "Local",
  mode: "enforce",
};

export function viewOf(fields: Readonly<Record<string, string>> = {}): RequestView {
  return { method: "GET", authority: "cart.shop", target: "/", header: (name) => fields[name] };
}

/** West's web on its way to cart.shop of east and north, under these rules, without any I/O. */
export function guardedEntry(rules: Partial<NonNullable<Snapshot["rules"]>>, random = () => 0) {
  const clock = createManualClock();
  const metrics = new Metrics();
  const readiness = new Map<string, Readiness>();
  const known = ({ destination }: EntryForward) => readiness.get(destination.split(".")[0] ?? "");
  const shared = new Guard({
    now: clock.now,
    metrics,
    events: new EventLog(createMemoryLog(), clock.now),
    readiness: known,
    choosable: known,
  });
  const imports = ["east", "north"].map((cluster) =>
    importRule({ from: { ...CART, cluster, trustDomain: `${cluster}.test.mesh` as TrustDomain } }),
  );
  const tables = westTables({ imports, rules: { rateLimits: [], backends: [], rollouts: [], ...rules } });
  const key = { caller: id("west/shop/web"), service: CART, port: 80 };
  const guard = new EntryGuard(key, tables, shared, random);
  const { sources } = compileEntry(tables, key.caller, CART, 80);
  const [east, north] = sources;
  if (east === undefined || north === undefined) throw new Error("two sources are expected");
  return {
    clock,
    guard,
    sources,
    east,
    north,
    /** Says how many endpoints of a cluster are ready. */
    ready(cluster: "east" | "north", ready: number, total: number): void {
      readiness.set(cluster, { ready, total });
      shared.readinessChanged();
    },
    verdicts: (rule: string, verdict: string, mode: "observe" | "enforce" = "enforce"): number =>
      metrics.ruleVerdicts.series({ rule, verdict, mode }).value,
  };
}
