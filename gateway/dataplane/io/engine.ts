import type { Logger } from "../../../federation/model/log.ts";
import type { Snapshot } from "../../../federation/model/snapshot.ts";
import type { TrustBundle } from "../../../federation/model/trust-bundle.ts";
import type { Credential } from "../../../federation/trust/index.ts";
import { CallerVerifier } from "../identity/caller-verifier.ts";
import { compilePeerTrust, type PeerTrust } from "../identity/peer-trust.ts";
import { createWatch, type Watch } from "../lifecycle/watch.ts";
import { compileTables, type RouteTables } from "../routing/tables.ts";
import { Arrivals } from "./arrivals.ts";
import type { Tracing } from "../telemetry/tracing.ts";
import { Metrics } from "./counters.ts";
import { EventLog } from "./event-log.ts";
import { FlowTable } from "./external/flows.ts";
import { LiveGrants } from "./live-grants.ts";
import { RetryBudgets } from "./retry-budgets.ts";
import type { TunnelEnvironment } from "./tunnel.ts";

export interface EngineOptions {
  readonly snapshot: Watch<Snapshot | undefined>;
  /** What the cluster joined with: enough to reach its own gateways before the first snapshot. */
  readonly joinedBundles: readonly TrustBundle[];
  readonly credential: Watch<Credential>;
  readonly log: Logger;
  readonly now: () => number;
  readonly monotonicMs: () => number;
  readonly random: () => number;
  readonly tracing?: Tracing | undefined;
}

/** What all parts of one proxy process share: the compiled rules in force, whom to believe, counters and logs. */
export interface Engine {
  readonly tables: Watch<RouteTables | undefined>;
  readonly tunnels: TunnelEnvironment;
  readonly callers: CallerVerifier;
  readonly grants: LiveGrants;
  /** Calls whose requests are judged where they arrive. */
  readonly arrivals: Arrivals;
  readonly metrics: Metrics;
  readonly budgets: RetryBudgets;
  readonly events: EventLog;
  /** Who left the cluster, to where: what a policy can be written from. */
  readonly flows: FlowTable;
  readonly tracing: Tracing | undefined;
}

/** Follows the snapshot: trust first, so that no rule is in force before the identities it speaks of can be judged. */
export function createEngine(options: EngineOptions): Engine {
  const { snapshot, credential, log, now, monotonicMs, random } = options;
  const trust = createWatch<PeerTrust>(trustOf(snapshot.current, options.joinedBundles));
  const tables = createWatch<RouteTables | undefined>(snapshot.current && compileTables(snapshot.current));
  const grants = new LiveGrants();
  snapshot.subscribe((next, previous) => {
    if (next === undefined) return;
    if (previous === undefined || trustChanged(next, previous))
      trust.publish(trustOf(next, options.joinedBundles));
    tables.publish(compileTables(next));
    grants.recheckAll();
  });
  const metrics = new Metrics();
  const events = new EventLog(log, now);
  return {
    tables,
    arrivals: new Arrivals({ tables, metrics, events, now: monotonicMs }),
    tunnels: { credential, trust, log, now, monotonicMs, random },
    callers: new CallerVerifier(),
    grants,
    metrics,
    budgets: new RetryBudgets(),
    events,
    tracing: options.tracing,
    flows: new FlowTable(now),
  };
}

function trustOf(snapshot: Snapshot | undefined, joinedBundles: readonly TrustBundle[]): PeerTrust {
  return snapshot === undefined
    ? compilePeerTrust(joinedBundles, [], false)
    : compilePeerTrust(snapshot.bundles, snapshot.denied);
}

/** Rebuilding TLS contexts for every change of a rule would cost more than the rule. */
function trustChanged(next: Snapshot, previous: Snapshot): boolean {
  return JSON.stringify([next.bundles, next.denied]) !== JSON.stringify([previous.bundles, previous.denied]);
}
