/** Labels and annotations that we write or obey. */
export const LABEL = {
  /** On everything that we made, so that it is found again and nothing else is touched. */
  managedBy: "isthmus.dev/managed-by",
  manager: "isthmus",
  /** MCS: the imported service's name, and where endpoints come from (KEP-1645). */
  serviceName: "multicluster.kubernetes.io/service-name",
  sourceCluster: "multicluster.kubernetes.io/source-cluster",
  /** On a Service: exports it without a ServiceExport. */
  export: "isthmus.dev/export",
} as const;

export const ANNOTATION = {
  /** Fingerprint of what we applied last. */
  applied: "isthmus.dev/applied",
  /** Revision of the snapshot for which we made an object; one that knows less does not delete it. */
  revision: "isthmus.dev/revision",
  /** On a ServiceExport or an exported Service: `west,north`; absent: every cluster of the federation. */
  consumers: "isthmus.dev/consumers",
  /** Callers of those clusters: `ns/shop/sa/web,ns/shop/sa/batch`; absent: all. */
  workloads: "isthmus.dev/workloads",
  /** On a Namespace: clusters whose exports it accepts, or `none`; absent: all. */
  importFrom: "isthmus.dev/import-from",
  /** On a ServiceImport that somebody writes: `east/billing/payments`, or `billing/payments` of every cluster that exports it. */
  from: "isthmus.dev/from",
  /** On a Namespace: `permissive` or `strict` mutual TLS for calls to its services; strict ones are refused while an agent is missing. */
  mtls: "isthmus.dev/mtls",
} as const;

export function isOurAnnotation(key: string): boolean {
  return key.startsWith("isthmus.dev/");
}

export const FIELD_MANAGER = "isthmus";
export const SYSTEM_NAMESPACE = "isthmus-system";

/** The Service of the agents, one on each node. */
export const AGENT_SERVICE = { key: `${SYSTEM_NAMESPACE}/isthmus-agent`, tunnelPort: "tunnel" } as const;

/** The Service in front of the gateways. */
export const GATEWAY_SERVICE = {
  name: "isthmus-gateway",
  key: `${SYSTEM_NAMESPACE}/isthmus-gateway`,
  tunnelPort: "tunnel",
} as const;

/** The Service of the gateways as issuers of identities; inside the cluster only. */
export const ISSUER_SERVICE = { name: "isthmus-issuer", port: "issuer" } as const;
