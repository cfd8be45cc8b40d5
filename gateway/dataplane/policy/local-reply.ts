import { PROBLEMS, type ProblemName } from "../../../federation/model/problem.ts";

/** Every refusal the data plane can make. */
export type RefusalName = Extract<
  ProblemName,
  | `peer_${string}`
  | `tls_${string}`
  | `caller_${string}`
  | "identity_pending"
  | `http_${string}`
  | "http2_abuse"
  | `upstream_${string}`
  | `route_${string}`
  | "fault_injected"
  | "export_denied"
  | "authorization_denied"
  | `egress_${string}`
  | `ingress_${string}`
  | `external_${string}`
  | "not_exported"
  | "not_imported"
  | "no_route"
  | "no_endpoint"
  | "gateway_unreachable"
  | "endpoint_unreachable"
  | "overloaded"
  | "draining"
  | "loop"
  | "snapshot_missing"
  | "tunnel_abuse"
  | "rate_limited"
  | "circuit_open"
>;

export interface LocalReply {
  readonly http: number;
  /** Whether the workload's connection must end, because its bytes can no longer be trusted or awaited. */
  readonly close: boolean;
}

const DENY: LocalReply = { http: 403, close: false };
const AWAY: LocalReply = { http: 503, close: false };
const BROKEN: LocalReply = { http: 502, close: false };
const BAD: LocalReply = { http: 400, close: true };

/** The one table that turns refusals into replies. */
export const LOCAL_REPLY: { readonly [N in RefusalName]: LocalReply } = {
  peer_certificate_missing: DENY,
  peer_certificate_untrusted: DENY,
  peer_certificate_expired: DENY,
  peer_certificate_not_yet_valid: DENY,
  peer_spiffe_id_invalid: DENY,
  peer_issuer_mismatch: DENY,
  peer_trust_domain_unknown: DENY,
  peer_certificate_profile: DENY,
  peer_unexpected: DENY,
  peer_denied: DENY,
  peer_role: DENY,
  tls_protocol: DENY,
  tls_session_resumed: DENY,
  caller_token_missing: DENY,
  caller_token_invalid: DENY,
  caller_token_expired: DENY,
  caller_token_audience: DENY,
  caller_unknown: DENY,
  identity_pending: AWAY,
  export_denied: DENY,
  authorization_denied: DENY,
  egress_denied: DENY,
  egress_host_denied: DENY,
  egress_request_denied: DENY,
  egress_address_denied: DENY,
  egress_name_mismatch: { http: 421, close: true },
  egress_name_missing: BAD,
  egress_name_hidden: DENY,
  egress_destination_invalid: BAD,
  egress_rate_limited: { http: 429, close: false },
  egress_caller_unknown: { http: 407, close: true },
  egress_protocol: BAD,
  ingress_certificate_required: DENY,
  external_unresolved: BROKEN,
  external_unreachable: AWAY,
  external_wrong_name: BROKEN,
  external_expired: BROKEN,
  external_untrusted: BROKEN,
  external_handshake: BROKEN,
  external_timeout: { http: 504, close: false },
  external_credential: AWAY,
  not_exported: DENY,
  not_imported: { http: 404, close: false },
  no_route: { http: 404, close: false },
  route_unmatched: { http: 404, close: false },
  route_backend_missing: { http: 500, close: false },
  fault_injected: { http: 503, close: false },
  no_endpoint: AWAY,
  gateway_unreachable: AWAY,
  endpoint_unreachable: AWAY,
  overloaded: AWAY,
  draining: AWAY,
  snapshot_missing: AWAY,
  tunnel_abuse: AWAY,
  circuit_open: AWAY,
  rate_limited: { http: 429, close: false },
  loop: { http: 508, close: true },
  upstream_reset: BROKEN,
  upstream_malformed: BROKEN,
  upstream_timeout: { http: 504, close: false },
  http_malformed: BAD,
  http_framing: BAD,
  http_host: BAD,
  http_head_too_large: { http: 431, close: true },
  http_timeout: { http: 408, close: true },
  http_version: { http: 505, close: true },
  http_method: { http: 405, close: true },
  http_expectation: { http: 417, close: true },
  http2_abuse: BAD,
};

export function localReply(name: ProblemName): LocalReply {
  return Object.hasOwn(LOCAL_REPLY, name) ? LOCAL_REPLY[name as RefusalName] : { http: 500, close: true };
}

const NAME_BY_CODE = new Map<string, ProblemName>(
  Object.entries(PROBLEMS).map(([name, { code }]) => [code, name as ProblemName]),
);

/** The problem a peer named by its code; an unknown code (a newer peer) counts as the loss of the connection. */
export function problemNameOf(code: string | undefined): ProblemName {
  return (code === undefined ? undefined : NAME_BY_CODE.get(code)) ?? "upstream_reset";
}
