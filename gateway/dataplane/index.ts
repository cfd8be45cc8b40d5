/** The proxy engine, for the processes that assemble it: `gateway/edge` and `agents/proxy`. */
export { compilePeerTrust, type Peer, type PeerTrust, verifyPeer } from "./identity/peer-trust.ts";
export { peerChain } from "./io/tls-context.ts";
export { createWatch, type PublishableWatch, type Watch } from "./lifecycle/watch.ts";
export {
  decideEgress,
  decideInbound,
  decideIngress,
  decideMesh,
  type EgressDecision,
  type EntryForward,
  refuse,
  type Refuse,
  selectTunnel,
  type ServiceForward,
  type TunnelTarget,
} from "./routing/decide.ts";
export { compileTables, type RouteTables } from "./routing/tables.ts";
export { createEngine, type Engine } from "./io/engine.ts";
export { type AllocateAddresses, ListenerSet } from "./io/listener-set.ts";
export { type PodEntry, PodListeners } from "./io/pod-listeners.ts";
export {
  EndpointBalancer,
  type EndpointWish,
  type PickedEndpoint,
  type UnreadyEndpoint,
} from "./io/endpoint-balancer.ts";
export type { Readiness } from "./io/destination-guard.ts";
export type { ControlMessage } from "../../federation/model/wire/control-message.ts";
export { ControlLinks } from "./io/control-links.ts";
export { ControlServer } from "./io/control-server.ts";
export { Guard } from "./io/guard.ts";
export { SharedLimits } from "./io/shared-limits.ts";
export { REFUSED_MS } from "./policy/share-lender.ts";
export { readinessKey, ReadinessTable, versionKey } from "./io/readiness-table.ts";
export { Entry, type EntryEnvironment } from "./io/entry.ts";
export {
  type DialledEndpoint,
  forwardToEndpoint,
  forwardToUpstream,
  type LastHop,
  refusalOf,
} from "./io/forward.ts";
export type { Grant } from "./io/live-grants.ts";
export { LocalStream } from "./io/local-stream.ts";
export { probeListener } from "./io/probe.ts";
export { relay, type RelayCounters } from "./io/relay.ts";
export { type GrantedTunnel, TunnelAccess, type TunnelAsked } from "./io/tunnel-access.ts";
export type { PortClaims } from "./io/shared-port.ts";
export type { TunnelEnvironment } from "./io/tunnel.ts";
export { refuseTunnel, type TunnelRequest, TunnelServer } from "./io/tunnel-server.ts";
export { TUNNEL_HEADER } from "./io/tunnel-settings.ts";
export { ErrorCode, type OpenedStream, type RequestFields } from "./io/tunnel-stream.ts";
export { turnClock } from "./io/turn.ts";
export { Upstream } from "./io/upstream.ts";
export { WorkloadListener } from "./io/workload-listener.ts";
export type { Tracing, Span, SpanAttributes } from "./telemetry/tracing.ts";
export type { TraceContext } from "./telemetry/trace-context.ts";
export { AccessLog, type AccessLogPolicy } from "./io/access-log.ts";
export type { Metrics } from "./io/counters.ts";
export { LATENCY_BOUNDS, type Histogram, type MetricFamily, type Series } from "./io/metric-family.ts";
export {
  createExternalTunnel,
  EXTERNAL,
  externalAudience,
  externalCounters,
  readWay,
} from "./io/external/external-tunnel.ts";
export { ExternalGate, type Way } from "./io/external/gate.ts";
export { CachingResolver, type NameResolver, systemLookups } from "./io/external/name-resolver.ts";
export { NO_SECRETS, type SecretSource } from "./io/external/secrets.ts";
export { WayListeners } from "./io/external/way-listeners.ts";
export { type GuardedRange, guardedRanges } from "./policy/guarded-ranges.ts";
export { OutsideListener } from "./io/external/outside-listener.ts";
export type { IngressRule } from "./routing/ingress-table.ts";
export { SecuredProxy } from "./io/external/secured-proxy.ts";
