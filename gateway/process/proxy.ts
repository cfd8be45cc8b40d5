import type { Address } from "../../federation/model/address.ts";
import type {
  CanaryReport,
  TunnelStatus,
  WorkloadListenerFailure,
  WorkloadListenerStatus,
} from "../../federation/model/resource.ts";
import type { MetricFamily } from "../dataplane/index.ts";
import type { EgressInsight, ProbeAnswer, ProbeRequest } from "./admin-server.ts";

/** A gateway or an agent as its process shell sees it. */
export interface Proxy {
  /** Listens for tunnels and workloads; rejects when the tunnel address cannot be had. Resolves with the bound address. */
  start(listen: Address): Promise<Address>;
  /** Why new work should not come here, or `undefined` when it should. */
  unready(): string | undefined;
  /** Prometheus text. */
  metrics(): string;
  /** The same, for whoever exports it otherwise. */
  families(): readonly MetricFamily[];
  status(): object;
  listeners(): readonly WorkloadListenerStatus[];
  /** Those that workloads miss, and why. */
  listenerFailures(): readonly WorkloadListenerFailure[];
  tunnels(): readonly TunnelStatus[];
  probe(request: ProbeRequest): Promise<ProbeAnswer>;
  /** What was measured of the canaries of rollouts. */
  canaries?(): readonly CanaryReport[];
  /** Gateways only: what may leave, and what left. */
  readonly egress?: EgressInsight;
  /** Where callers from outside are served, if anywhere. */
  outside?(): string | undefined;
  /** Where workloads with their own SVID find the HTTP proxy, if anywhere. */
  securedProxy?(): string | undefined;
  /** Stops accepting and resolves when all that was under way is finished. */
  drain(): Promise<void>;
  /** Ends everything at once. */
  close(): void;
  /** After `close`: what stands outside the process (capture) is taken back. */
  withdraw?(): Promise<void>;
}
