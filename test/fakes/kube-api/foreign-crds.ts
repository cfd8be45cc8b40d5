/** Kinds of other projects that we read. Their schemas are those projects' own: here an object may say anything. */
const FOREIGN: readonly (readonly [group: string, version: string, plural: string, kind: string])[] = [
  ["gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute"],
  ["gateway.networking.k8s.io", "v1", "grpcroutes", "GRPCRoute"],
  ["split.smi-spec.io", "v1alpha4", "trafficsplits", "TrafficSplit"],
  ["specs.smi-spec.io", "v1alpha4", "httproutegroups", "HTTPRouteGroup"],
  ["specs.smi-spec.io", "v1alpha4", "tcproutes", "TCPRoute"],
  ["access.smi-spec.io", "v1alpha3", "traffictargets", "TrafficTarget"],
  ["cert-manager.io", "v1", "certificaterequests", "CertificateRequest"],
];

/** CustomResourceDefinitions of those kinds, so that a real API server serves them. */
export function foreignDefinitions(): string {
  const items = FOREIGN.map(([group, version, plural, kind]) => ({
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: {
      name: `${plural}.${group}`,
      // The group is protected: an API server refuses it without somebody's approval.
      annotations: { "api-approved.kubernetes.io": "unapproved, for tests" },
    },
    spec: {
      group,
      scope: "Namespaced",
      names: { plural, kind, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
        },
      ],
    },
  }));
  return JSON.stringify({ apiVersion: "v1", kind: "List", items });
}
