import type { Snapshot, SnapshotBackend, SnapshotRateLimit } from "../../federation/model/snapshot.ts";
import type { TrustDomain } from "../../federation/model/spiffe-id.ts";
import { Metrics } from "../../gateway/dataplane/io/counters.ts";
import type { Readiness } from "../../gateway/dataplane/io/destination-guard.ts";
import { EntryGuard } from "../../gateway/dataplane/io/entry-guard.ts";
import { EventLog } from "../../gateway/dataplane/io/event-log.ts";
import { type Ticket, ticketFor } from "../../gateway/dataplane/io/exchange-ticket.ts";
import { Guard } from "../../gateway/dataplane/io/guard.ts";
import type { EntryForward } from "../../gateway/dataplane/routing/decide.ts";
import { compileEntry } from "../../gateway/dataplane/routing/decide-request.ts";
import type { RequestView } from "../../gateway/dataplane/routing/request-view.ts";
import { createManualClock } from "./manual-clock.ts";
import { createMemoryLog } from "./memory-log.ts";
import { CART, id, importRule, westTables } from "./rules.ts";

export const BACKEND: SnapshotBackend = { name: "west/shop/policy", service: CART, mode: "enforce" };

/** All requests to its canary. */
export const CANARY = { name: "r", service: CART, stable: "v1", canary: "v2", weight: 100 };

/** Two failures in a row. */
export const OUTLIER = {
  consecutiveErrors: 2,
  baseEjectionMs: 1_000,
  maxEjectionMs: 10_000,
  maxEjectionPercent: 50,
};

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

type Rules = Partial<NonNullable<Snapshot["rules"]>>;

/** West's web on its way to cart.shop of two clusters, under these rules, without any I/O; the first is taken where both are equal. */
export function guardedEntry(
  rules: Rules,
  clusters: readonly [string, string] = ["east", "north"],
  random = () => 0,
) {
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
  const imports = clusters.map((cluster) =>
    importRule({ from: { ...CART, cluster, trustDomain: `${cluster}.test.mesh` as TrustDomain } }),
  );
  const key = { caller: id("west/shop/web"), service: CART, port: 80 };
  const tablesOf = (wanted: Rules) =>
    westTables({ imports, rules: { rateLimits: [], backends: [], rollouts: [], ...wanted } });
  /** The same process, by other rules from now on. */
  const guardBy = (wanted: Rules) => new EntryGuard(key, tablesOf(wanted), shared, random);
  const guard = guardBy(rules);
  const { sources } = compileEntry(tablesOf(rules), key.caller, CART, 80);
  const [east, north] = sources;
  if (east === undefined || north === undefined) throw new Error("two sources are expected");
  return {
    clock,
    guard,
    guardBy,
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

export type GuardedEntry = ReturnType<typeof guardedEntry>;

export const withPolicy = (rule: Partial<SnapshotBackend>) =>
  guardedEntry({ backends: [{ ...BACKEND, ...rule }] });

/** Where a request for this target goes, `cluster endpoint version`, or the code of what refuses it. */
export function goes(
  scene: GuardedEntry,
  target: EntryForward,
  fields: Readonly<Record<string, string>> = {},
): string {
  const decision = { kind: "forward", target } as Parameters<GuardedEntry["guard"]["apply"]>[0];
  const applied = scene.guard.apply(decision, viewOf(fields), scene.sources);
  if (applied.kind === "refuse") return `${applied.problem.name} ${applied.retryAfterS}`;
  if (applied.kind !== "forward") return applied.kind;
  const { destination, endpoint, version } = applied.target;
  return [destination.split(".")[0], endpoint, version].filter((part) => part !== undefined).join(" ");
}

export function ticket({ guard, clock }: GuardedEntry, target: EntryForward): Ticket {
  const found = ticketFor(guard, target, clock.now);
  if ("name" in found) throw new Error(found.name);
  return found;
}
