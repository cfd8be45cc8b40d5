import { serviceKey } from "../../../federation/model/service.ts";
import { workloadName } from "../../../federation/model/workload-pattern.ts";
import type { Counter, Metrics } from "./counters.ts";
import type { EntryKey } from "./entry.ts";

export interface EntryCounters {
  readonly connections: Counter;
  readonly openConnections: Counter;
  /** Bytes read of HTTP connections, requests that never were one included. */
  readonly up: Counter;
  /** A rule's retries that were not made: the budget was spent, or the body too long to be kept. */
  readonly retriesOverBudget: Counter;
  readonly retriesOverBody: Counter;
  readonly mirrors: Counter;
  readonly mirrorsOverBody: Counter;
  readonly mirrorsBusy: Counter;
  readonly mirrorsPaused: Counter;
  readonly wouldDeny: Counter;
}

export function entryCounters({ caller, service, port }: EntryKey, metrics: Metrics): EntryCounters {
  const labels = { workload: workloadName(caller), service: serviceKey(service), port: String(port) };
  return {
    connections: metrics.connections.series(labels),
    openConnections: metrics.openConnections.series(labels),
    up: metrics.workloadBytes.series(labels),
    retriesOverBudget: metrics.retriesSkipped.series({ ...labels, reason: "budget" }),
    retriesOverBody: metrics.retriesSkipped.series({ ...labels, reason: "body" }),
    mirrors: metrics.mirrors.series({ ...labels, outcome: "sent" }),
    mirrorsOverBody: metrics.mirrors.series({ ...labels, outcome: "body too long" }),
    mirrorsBusy: metrics.mirrors.series({ ...labels, outcome: "too many" }),
    mirrorsPaused: metrics.mirrors.series({ ...labels, outcome: "target fails" }),
    wouldDeny: metrics.wouldDeny.series(labels),
  };
}
