import { CounterFamily, HistogramFamily, type MetricFamily } from "./metric-family.ts";

export type { Counter } from "./metric-family.ts";

/** All families of one process. What each label means: `infra/observability/README.md`. */
export class Metrics {
  readonly requests = new CounterFamily(
    "isthmus_requests_total",
    "HTTP requests answered, by source, destination, route, status class and verdict",
  );
  readonly requestErrors = new CounterFamily(
    "isthmus_request_errors_total",
    "HTTP requests that failed, by source, destination, route and reason (a problem code, 5xx, grpc-<status> or aborted)",
  );
  readonly requestDuration = new HistogramFamily(
    "isthmus_request_duration_seconds",
    "From the head of an HTTP request to the end of its answer, by source, destination and route",
  );
  readonly retries = new CounterFamily("isthmus_retries_total", "Requests sent again on a fresh stream");
  readonly bytes = new CounterFamily(
    "isthmus_bytes_total",
    "Bytes relayed, by direction, source, destination and way (up: from the caller)",
  );
  readonly workloadBytes = new CounterFamily(
    "isthmus_workload_read_bytes_total",
    "Bytes read of workloads' HTTP connections, whatever came of them",
  );
  readonly connections = new CounterFamily("isthmus_connections_total", "Workload connections accepted");
  readonly openConnections = new CounterFamily(
    "isthmus_open_connections",
    "Workload connections open now",
    "gauge",
  );
  readonly streams = new CounterFamily(
    "isthmus_tunnel_streams_total",
    "Tunnel streams relayed, by direction, source and destination",
  );
  readonly refusals = new CounterFamily("isthmus_refusals_total", "Refusals by problem code");
  readonly external = new CounterFamily(
    "isthmus_external_requests_total",
    "HTTP requests of workloads to external hosts answered, by workload and status class",
  );
  readonly wouldDeny = new CounterFamily(
    "isthmus_egress_observed_denials_total",
    "Requests that observing egress policies would deny",
  );
  readonly arrivalWouldDeny = new CounterFamily(
    "isthmus_authorization_observed_denials_total",
    "Tunnel streams that observing AuthorizationPolicies would refuse where they arrive",
  );
  readonly retriesSkipped = new CounterFamily(
    "isthmus_retries_skipped_total",
    "Retries that a rule wanted and that were not made, by reason: budget, body",
  );
  readonly mirrors = new CounterFamily(
    "isthmus_mirrored_requests_total",
    "Copies of requests, by outcome: sent, or skipped because of the body's size or too many under way",
  );
  readonly routed = new CounterFamily(
    "isthmus_route_requests_total",
    "Requests by the rule of a TrafficRoute that they fit, its mode and what came of it",
  );
  readonly ruleVerdicts = new CounterFamily(
    "isthmus_rule_verdicts_total",
    "What a RateLimit or BackendTrafficPolicy refused and ejected, or one of them or a Rollout would do where it observes",
  );

  readonly tunnels = new CounterFamily(
    "isthmus_tunnels",
    "Tunnels that are kept to other members, by cluster and state",
    "gauge",
  );
  readonly revision = new CounterFamily("isthmus_snapshot_revision", "Snapshot revision in force", "gauge");
  readonly registryConnected = new CounterFamily(
    "isthmus_registry_connected",
    "Whether the registry answers (1) or the last good snapshot is in force without it (0)",
    "gauge",
  );
  readonly #collectors: (() => void)[] = [];

  /** Runs before the families are read: sets what is known elsewhere and would be dear to keep up to date here. */
  beforeCollect(collector: () => void): void {
    this.#collectors.push(collector);
  }

  get families(): readonly MetricFamily[] {
    for (const collect of this.#collectors) collect();
    return [
      this.requests,
      this.requestErrors,
      this.requestDuration,
      this.retries,
      this.bytes,
      this.workloadBytes,
      this.connections,
      this.openConnections,
      this.streams,
      this.refusals,
      this.external,
      this.wouldDeny,
      this.arrivalWouldDeny,
      this.retriesSkipped,
      this.mirrors,
      this.routed,
      this.ruleVerdicts,
      this.tunnels,
      this.revision,
      this.registryConnected,
    ];
  }

  render(): string {
    return this.families.map((family) => family.render()).join("");
  }
}
