/**
 * Longer than other files because a closed list is read in one place.
 * The closed list of everything Isthmus refuses or reports. Codes are stable: they appear in replies, logs, metrics and
 * `isthmus explain`. Names are what the code uses; a new name without a row here does not compile.
 * 1xxx identity · 2xxx permission · 3xxx reaching a service · 4xxx HTTP input · 5xxx registry · 6xxx local machine and files
 */
export interface ProblemInfo {
  readonly code: `ISTH-${number}`;
  /** What is wrong, in a few words, without particulars. */
  readonly title: string;
  /** What to do about it. */
  readonly fix: string;
}

export const PROBLEMS = {
  peer_certificate_missing: {
    code: "ISTH-1001",
    title: "the peer presented no certificate",
    fix: "connect with an SVID of a federated cluster",
  },
  peer_certificate_untrusted: {
    code: "ISTH-1002",
    title: "the peer's certificate does not chain to a root of this federation",
    fix: "join the peer's cluster to this federation: isthmus cluster register",
  },
  peer_certificate_expired: {
    code: "ISTH-1003",
    title: "the peer's certificate has expired",
    fix: "check the peer's clock and that it can renew: isthmus check",
  },
  peer_certificate_not_yet_valid: {
    code: "ISTH-1004",
    title: "the peer's certificate is not valid yet",
    fix: "compare the clocks of both machines: isthmus check",
  },
  peer_spiffe_id_invalid: {
    code: "ISTH-1005",
    title: "the peer's certificate does not carry exactly one valid SPIFFE ID",
    fix: "issue the certificate with one spiffe:// URI SAN and no other URI SAN",
  },
  peer_issuer_mismatch: {
    code: "ISTH-1006",
    title: "the peer's certificate was issued by another trust domain's CA",
    fix: "issue it from the CA of the trust domain that its SPIFFE ID names",
  },
  peer_trust_domain_unknown: {
    code: "ISTH-1007",
    title: "the peer's trust domain is not one this cluster exchanges traffic with",
    fix: "export or import a service between the two clusters first",
  },
  peer_certificate_profile: {
    code: "ISTH-1008",
    title: "the peer's certificate breaks the X509-SVID profile",
    fix: "issue a leaf: cA=false, key usage digitalSignature without keyCertSign",
  },
  tls_protocol: {
    code: "ISTH-1009",
    title: "the TLS handshake failed",
    fix: "offer TLS 1.3 with ALPN h2",
  },
  tls_session_resumed: {
    code: "ISTH-1010",
    title: "the peer resumed a TLS session",
    fix: "make a full handshake for every connection",
  },
  peer_unexpected: {
    code: "ISTH-1011",
    title: "the peer has a valid identity, but not the expected one",
    fix: "check that the gateway address belongs to the cluster it is registered for",
  },
  peer_denied: {
    code: "ISTH-1012",
    title: "the peer's cluster was revoked",
    fix: "register the cluster again if that was a mistake",
  },
  caller_token_missing: {
    code: "ISTH-1021",
    title: "the tunnel request carries no caller token",
    fix: "send the workload's signed token in isthmus-caller",
  },
  caller_token_invalid: {
    code: "ISTH-1022",
    title: "the caller token is malformed or its signature does not verify",
    fix: "sign the token with the workload's SVID key and send its chain in x5c",
  },
  caller_token_expired: {
    code: "ISTH-1023",
    title: "the caller token has expired or is not valid yet",
    fix: "compare the clocks of both clusters: isthmus check",
  },
  caller_token_audience: {
    code: "ISTH-1024",
    title: "the caller token was made for another service",
    fix: "request a token for the service that is called",
  },
  caller_unknown: {
    code: "ISTH-1025",
    title: "no pod of this cluster has the caller's address",
    fix: "call from a pod that does not use its node's network, or from a workload with a local address of its own",
  },
  identity_pending: {
    code: "ISTH-1026",
    title: "the cluster's issuer has not given this identity yet",
    fix: "check that a gateway runs and that this node's agent reaches the Service isthmus-issuer: its /readyz and log say what it waits for",
  },
  join_token_invalid: {
    code: "ISTH-1031",
    title: "the join token is malformed, unsigned or of another federation",
    fix: "isthmus cluster register <cluster> prints a new one",
  },
  join_token_expired: {
    code: "ISTH-1032",
    title: "the join token has expired",
    fix: "isthmus cluster register <cluster> prints a new one",
  },
  join_token_spent: {
    code: "ISTH-1033",
    title: "the join token was used already",
    fix: "isthmus cluster register <cluster> prints a new one",
  },
  join_token_cluster: {
    code: "ISTH-1034",
    title: "the join token was made for another cluster",
    fix: "use the token that was printed for this cluster",
  },
  member_request_invalid: {
    code: "ISTH-1041",
    title: "the member request's signature does not match its method, URL or body",
    fix: "send the request unchanged, as it was signed",
  },
  member_request_expired: {
    code: "ISTH-1042",
    title: "the member request's signature has expired or lies in the future",
    fix: "compare the member's clock with the registry's: isthmus check",
  },
  snapshot_signature: {
    code: "ISTH-1051",
    title: "the snapshot's signature does not verify",
    fix: "check that the registry URL is the one this cluster joined",
  },
  snapshot_revision_lower: {
    code: "ISTH-1052",
    title: "the snapshot is older than the one in force",
    fix: "the registry went back in time: restore its latest state, or let it go on from here: isthmus registry recover",
  },
  snapshot_foreign: {
    code: "ISTH-1053",
    title: "the snapshot is of another federation or cluster",
    fix: "check the registry URL and the state directory",
  },
  snapshot_malformed: {
    code: "ISTH-1054",
    title: "the snapshot does not fit its schema",
    fix: "upgrade this member to the registry's version",
  },
  csr_invalid: {
    code: "ISTH-1061",
    title: "the certificate signing request is malformed or not self-signed by its key",
    fix: "make the request with isthmus cluster join",
  },
  identity_denied: {
    code: "ISTH-1071",
    title: "the cluster's issuer refuses this identity to this process",
    fix: "an agent may ask for the accounts of pods on its own node, with a token of its own pod for the audience isthmus-issuer",
  },
  identity_unusable: {
    code: "ISTH-1072",
    title: "the cluster's issuer answered a certificate that cannot be used",
    fix: "check which CA signs for this cluster, and that its certificate is in the cluster's trust bundle",
  },
  issuer_unreachable: {
    code: "ISTH-1073",
    title: "the cluster's issuer does not answer",
    fix: "identities in use stay in force until they expire; check the gateways: kubectl get pods -n isthmus-system",
  },
  ca_issuer_refused: {
    code: "ISTH-1074",
    title: "the external CA issuer refused a certificate request",
    fix: "read its reason; whoever approves certificate requests in isthmus-system has to approve those of its service account gateway",
  },
  ca_issuer_silent: {
    code: "ISTH-1075",
    title: "the external CA issuer has not answered a certificate request in time",
    fix: "identities in use stay in force until they expire; check the issuer: kubectl describe issuers,certificaterequests -n isthmus-system",
  },
  ca_certificate_unusable: {
    code: "ISTH-1076",
    title: "the external CA issuer issued a certificate that cannot be used",
    fix: "let it sign with the certificate ca.crt of the ConfigMap isthmus-cluster and its key, keep the request's one URI SAN and usages, and honour its duration",
  },
  export_denied: {
    code: "ISTH-2001",
    title: "the owner of the service does not permit this caller",
    fix: "ask the owner to add the workload to the export's consumers",
  },
  egress_denied: {
    code: "ISTH-2002",
    title: "no egress policy lets this workload leave to that service",
    fix: "allow it in an EgressPolicy of the caller's cluster",
  },
  not_exported: {
    code: "ISTH-2003",
    title: "the service is not exported to this cluster",
    fix: "isthmus service export <service> --to <cluster>, at the owner",
  },
  not_imported: {
    code: "ISTH-2004",
    title: "the service is not imported in this cluster",
    fix: "isthmus service import <service> --from <cluster>",
  },
  peer_role: {
    code: "ISTH-2005",
    title: "this peer may not open such a tunnel",
    fix: "tunnels come from gateways of other clusters and agents of the same one",
  },
  authorization_denied: {
    code: "ISTH-2006",
    title: "an AuthorizationPolicy of the service's cluster does not let this caller in",
    fix: "allow the caller in an AuthorizationPolicy of the service's namespace",
  },
  egress_host_denied: {
    code: "ISTH-2201",
    title: "no enforced EgressPolicy lets the workload reach this external destination",
    fix: "name the host, or its range, and port in an EgressPolicy: isthmus egress test",
  },
  egress_request_denied: {
    code: "ISTH-2202",
    title: "an EgressPolicy lets the workload make other requests to this host",
    fix: "add the method and path to the policy; a path with two readings is never permitted by a path rule",
  },
  egress_address_denied: {
    code: "ISTH-2203",
    title: "the address lies in a loopback, private, link-local, metadata or otherwise guarded range",
    fix: "if it is meant, name exactly that range as cidr beside the hostname in the EgressPolicy",
  },
  egress_name_mismatch: {
    code: "ISTH-2204",
    title: "the host that was asked for, SNI, Host and the request target do not agree",
    fix: "connect to the host that the request names",
  },
  egress_name_missing: {
    code: "ISTH-2205",
    title: "the connection does not say which host it wants",
    fix: "send SNI, or use the HTTP proxy",
  },
  egress_name_hidden: {
    code: "ISTH-2206",
    title: "an encrypted ClientHello hides which host is wanted",
    fix: "turn ECH off for this client: the policy must see the name",
  },
  egress_destination_invalid: {
    code: "ISTH-2207",
    title: "the destination is not a plain host and port",
    fix: "write host:port without user information, zone, trailing dot or letters outside ASCII",
  },
  egress_rate_limited: {
    code: "ISTH-2208",
    title: "the workload has used up the rate that its EgressPolicy gives it",
    fix: "slow down, or raise spec.rateLimit of the policy",
  },
  egress_caller_unknown: {
    code: "ISTH-2209",
    title: "the proxy does not know which workload is calling",
    fix: "use the workload's own proxy address, or present its SVID",
  },
  egress_protocol: {
    code: "ISTH-2210",
    title: "the workload speaks another protocol than the EgressPolicy says",
    fix: "speak TLS where the policy says passthrough, plain HTTP where the gateway originates TLS",
  },
  ingress_certificate_required: {
    code: "ISTH-2211",
    title: "this host takes only callers with a certificate of its CA",
    fix: "present a client certificate that the host's CA issued",
  },
  no_route: {
    code: "ISTH-3001",
    title: "nothing is known under that name",
    fix: "isthmus service list shows what this cluster may reach",
  },
  no_endpoint: {
    code: "ISTH-3002",
    title: "the service has no endpoint",
    fix: "start the workload, or check the endpoints in its cluster",
  },
  gateway_unreachable: {
    code: "ISTH-3003",
    title: "no gateway on the way to the service can be reached",
    fix: "isthmus check names the gateway and why",
  },
  endpoint_unreachable: {
    code: "ISTH-3004",
    title: "the workload does not accept connections",
    fix: "check that the workload runs and listens on its endpoint's address",
  },
  upstream_reset: {
    code: "ISTH-3005",
    title: "the connection to the service broke before the response was complete",
    fix: "retry if the request may be repeated; isthmus check shows the tunnels",
  },
  upstream_timeout: {
    code: "ISTH-3006",
    title: "the service did not answer in time",
    fix: "look at the workload's own latency",
  },
  overloaded: {
    code: "ISTH-3007",
    title: "a limit of this proxy is reached",
    fix: "send less at once, or add a gateway",
  },
  draining: {
    code: "ISTH-3008",
    title: "this proxy is shutting down",
    fix: "retry: another one, or its successor, will answer",
  },
  loop: {
    code: "ISTH-3009",
    title: "the request already passed through this proxy",
    fix: "a workload forwards what it receives to the service it is: break the circle",
  },
  snapshot_missing: {
    code: "ISTH-3010",
    title: "this proxy has no snapshot yet",
    fix: "check that the registry is reachable: isthmus check",
  },
  upstream_malformed: {
    code: "ISTH-3011",
    title: "the service answered something that is no valid HTTP",
    fix: "declare the port as tcp, or mend the workload",
  },
  tunnel_abuse: {
    code: "ISTH-3012",
    title: "the tunnel peer floods this proxy, or says nothing",
    fix: "the peer is broken or hostile: look at its log",
  },
  external_unresolved: {
    code: "ISTH-3401",
    title: "the name of the external host does not resolve",
    fix: "check the name and the gateway's DNS servers",
  },
  external_unreachable: {
    code: "ISTH-3402",
    title: "no address of the external host accepts a connection",
    fix: "check that the host is up and that the gateway's network lets it out",
  },
  external_wrong_name: {
    code: "ISTH-3403",
    title: "the external host presented a certificate for another name",
    fix: "check the hostname; if the name is right, set tls.sni or tls.validation.subjectAltNames",
  },
  external_expired: {
    code: "ISTH-3404",
    title: "the external host's certificate has expired or is not valid yet",
    fix: "tell the owner of the host; compare the gateway's clock",
  },
  external_untrusted: {
    code: "ISTH-3405",
    title: "the external host's certificate chains to no CA that the EgressPolicy trusts",
    fix: "name its CA in tls.validation.caCertificateRefs",
  },
  external_handshake: {
    code: "ISTH-3406",
    title: "the TLS handshake with the external host failed",
    fix: "check that it speaks TLS 1.2 or newer there, and whether it wants a client certificate",
  },
  external_timeout: {
    code: "ISTH-3407",
    title: "the external host did not answer in time",
    fix: "check the host, or raise spec.timeouts of the EgressPolicy",
  },
  external_credential: {
    code: "ISTH-3408",
    title: "the client certificate or CA that the EgressPolicy names is not usable at this gateway",
    fix: "put tls.crt, tls.key or ca.crt into the gateway's secrets: the log names the directory",
  },
  rate_limited: {
    code: "ISTH-3301",
    title: "a rate limit is reached",
    fix: "send less, or wait as long as Retry-After says; isthmus get ratelimits shows the limits",
  },
  circuit_open: {
    code: "ISTH-3302",
    title: "a circuit breaker's bound is reached",
    fix: "send less at once, or raise the bound in the BackendTrafficPolicy",
  },
  route_unmatched: {
    code: "ISTH-3201",
    title: "no rule of the service's TrafficRoutes fits the request",
    fix: "add a rule without matches for everything else, or delete the route",
  },
  route_backend_missing: {
    code: "ISTH-3202",
    title: "the TrafficRoute sends the request to a backend that is not there",
    fix: "isthmus get route -o wide names it: import the service, or mend spec.rules[].backendRefs",
  },
  fault_injected: {
    code: "ISTH-3203",
    title: "a TrafficRoute makes this request fail on purpose",
    fix: "take the fault out of the rule that the message names",
  },
  http_malformed: {
    code: "ISTH-4001",
    title: "the HTTP message is malformed",
    fix: "send HTTP/1.1 as RFC 9112 has it",
  },
  http_head_too_large: {
    code: "ISTH-4002",
    title: "the HTTP head is too large",
    fix: "send at most 100 fields and 32 KiB of head",
  },
  http_timeout: {
    code: "ISTH-4003",
    title: "the HTTP message did not arrive in time",
    fix: "send the whole head within 10 s and keep the body flowing",
  },
  http_framing: {
    code: "ISTH-4004",
    title: "the HTTP message's length is contradictory",
    fix: "send either one Content-Length or Transfer-Encoding: chunked",
  },
  http_host: {
    code: "ISTH-4005",
    title: "the Host field is missing, repeated or contradicts the request target",
    fix: "send exactly one Host field and an origin-form target",
  },
  http_version: {
    code: "ISTH-4006",
    title: "this version of HTTP is not spoken here",
    fix: "send HTTP/1.1 or HTTP/1.0, or HTTP/2 from the first byte (prior knowledge)",
  },
  http_method: {
    code: "ISTH-4007",
    title: "the method is not served here",
    fix: "CONNECT and TRACE are not forwarded",
  },
  http_expectation: {
    code: "ISTH-4008",
    title: "the expectation is not known",
    fix: "only Expect: 100-continue is understood",
  },
  http2_abuse: {
    code: "ISTH-4009",
    title: "the HTTP/2 connection breaks the protocol, or floods this proxy",
    fix: "the client is broken or hostile: look at its log; RFC 9113 is what is spoken here",
  },
  unauthenticated: {
    code: "ISTH-5001",
    title: "the request carries no valid credential",
    fix: "pass --token-file, or set ISTHMUS_TOKEN_FILE",
  },
  forbidden: {
    code: "ISTH-5002",
    title: "the credential does not permit this",
    fix: "use a token with the role that the message names",
  },
  not_found: {
    code: "ISTH-5003",
    title: "there is no such thing",
    fix: "isthmus get lists what there is",
  },
  version_conflict: {
    code: "ISTH-5004",
    title: "the object was changed by someone else meanwhile",
    fix: "read it again, then repeat the change",
  },
  cluster_exists: {
    code: "ISTH-5005",
    title: "a cluster of this name is a member already",
    fix: "choose another name, or remove the old cluster first",
  },
  request_invalid: {
    code: "ISTH-5006",
    title: "the request does not fit its schema",
    fix: "mend the fields that are listed",
  },
  request_too_large: {
    code: "ISTH-5007",
    title: "the request is too large",
    fix: "send it in parts",
  },
  store_unavailable: {
    code: "ISTH-5008",
    title: "the registry cannot write its store",
    fix: "check disk space and permissions of the registry's state directory; reads go on",
  },
  request_token_reused: {
    code: "ISTH-5009",
    title: "the request token was used for a different request",
    fix: "make a new token for each change",
  },
  cluster_in_use: {
    code: "ISTH-5010",
    title: "the cluster still exports or imports services",
    fix: "delete its exports and imports first",
  },
  unsupported_media: {
    code: "ISTH-5011",
    title: "the body is not JSON",
    fix: "send content-type: application/json",
  },
  limit_exceeded: {
    code: "ISTH-5012",
    title: "a limit of the registry is reached",
    fix: "wait and retry; the message names the limit",
  },
  rollout_failed: {
    code: "ISTH-5391",
    title: "the rollout went back to the stable version",
    fix: "isthmus rollout status <name> says why",
  },
  rollout_state: {
    code: "ISTH-5392",
    title: "the rollout is not in a state that permits this",
    fix: "isthmus rollout status <name> shows where it stands",
  },
  internal: {
    code: "ISTH-5099",
    title: "a fault of Isthmus itself",
    fix: "report it with the log line of the same time",
  },
  file_invalid: {
    code: "ISTH-6001",
    title: "the file does not fit its schema",
    fix: "mend the places that are listed",
  },
  file_unreadable: {
    code: "ISTH-6002",
    title: "the file cannot be read",
    fix: "check the path and its permissions",
  },
  port_in_use: {
    code: "ISTH-6003",
    title: "the address is in use already",
    fix: "stop the other process, or choose another port; 0 takes any free one",
  },
  state_unusable: {
    code: "ISTH-6004",
    title: "the state directory cannot be used",
    fix: "check that it exists, is writable and belongs to this user",
  },
  registry_unreachable: {
    code: "ISTH-6005",
    title: "the registry does not answer",
    fix: "check the URL and that the registry runs",
  },
  clock_skew: {
    code: "ISTH-6006",
    title: "this machine's clock differs from the registry's",
    fix: "synchronize the clocks (chrony, systemd-timesyncd)",
  },
  node_version: {
    code: "ISTH-6007",
    title: "this Node.js is too old",
    fix: "npm ci installs the right one beside the project",
  },
  disk_full: {
    code: "ISTH-6008",
    title: "the disk is full",
    fix: "free some space; nothing acknowledged was lost",
  },
  usage: {
    code: "ISTH-6009",
    title: "the command line is not understood",
    fix: "isthmus <command> --help",
  },
  config_invalid: {
    code: "ISTH-6010",
    title: "the configuration is not usable",
    fix: "mend the settings that are listed",
  },
  process_failed: {
    code: "ISTH-6011",
    title: "a process of the federation ended by itself",
    fix: "read the end of its log, which is printed",
  },
  capture_failed: {
    code: "ISTH-6510",
    title: "traffic of this node cannot be captured",
    fix: "give the agent NET_ADMIN in its node's network, and a kernel with nftables; meanwhile traffic goes the plain way",
  },
  kube_unreachable: {
    code: "ISTH-6501",
    title: "the Kubernetes API server does not answer",
    fix: "look at the API server; what is known stays in force, and following goes on when it is back",
  },
  kube_unauthorized: {
    code: "ISTH-6502",
    title: "the Kubernetes API server does not know who we are",
    fix: "check the service account's token, or the kubeconfig's user",
  },
  kube_forbidden: {
    code: "ISTH-6503",
    title: "our service account may not do this",
    fix: "apply the manifest again, its roles name every verb: isthmus install --manifest | kubectl apply -f -",
  },
  kube_resource_missing: {
    code: "ISTH-6504",
    title: "the Kubernetes API server does not know this kind of object",
    fix: "install its CustomResourceDefinition, or ignore this when nobody uses the kind",
  },
  kube_object_refused: {
    code: "ISTH-6505",
    title: "the Kubernetes API server refused an object",
    fix: "read its message; a policy or an admission webhook of the cluster may object",
  },
  kube_conflict: {
    code: "ISTH-6506",
    title: "somebody else changed or owns what was to be written",
    fix: "nothing, if it passes; else find who else writes the fields that the message names",
  },
} as const satisfies { readonly [name: string]: ProblemInfo };

export type ProblemName = keyof typeof PROBLEMS;

/** A problem with its particulars; `detail` never holds a secret. */
export interface Problem {
  readonly name: ProblemName;
  readonly detail: string;
}

export function problem(name: ProblemName, detail: string): Problem {
  return { name, detail };
}

/** One complaint about one field of a document; `path` as in `spec.ports[2].port`. */
export interface Issue {
  readonly path: string;
  readonly message: string;
  /** The nearest known word, where the field looks like a typing mistake. */
  readonly suggestion?: string;
}
