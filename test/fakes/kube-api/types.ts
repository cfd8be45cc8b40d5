import { POLICY_KINDS } from "../../../federation/model/wire/policy-kinds.ts";

/** A kind of object that the double serves. Versions of one kind share their objects, as in a real API server. */
export interface ServedType {
  readonly group: string;
  readonly versions: readonly string[];
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly status?: boolean;
}

const served = (
  group: string,
  versions: readonly string[],
  plural: string,
  kind: string,
  namespaced = true,
  status = false,
): ServedType => ({ group, versions, plural, kind, namespaced, status });

export const SERVED_TYPES: readonly ServedType[] = [
  served("", ["v1"], "namespaces", "Namespace", false, true),
  served("", ["v1"], "nodes", "Node", false, true),
  served("", ["v1"], "services", "Service", true, true),
  served("", ["v1"], "pods", "Pod", true, true),
  served("", ["v1"], "secrets", "Secret"),
  served("", ["v1"], "configmaps", "ConfigMap"),
  served("", ["v1"], "events", "Event"),
  served("", ["v1"], "serviceaccounts", "ServiceAccount"),
  served("discovery.k8s.io", ["v1", "v1beta1"], "endpointslices", "EndpointSlice"),
  served("coordination.k8s.io", ["v1"], "leases", "Lease"),
  served("multicluster.x-k8s.io", ["v1beta1", "v1alpha1"], "serviceexports", "ServiceExport", true, true),
  served("multicluster.x-k8s.io", ["v1beta1", "v1alpha1"], "serviceimports", "ServiceImport", true, true),
  ...POLICY_KINDS.map(({ plural, kind, namespaced }) =>
    served("isthmus.dev", ["v1alpha1"], plural, kind, namespaced, true),
  ),
  served("gateway.networking.k8s.io", ["v1"], "httproutes", "HTTPRoute", true, true),
  served("gateway.networking.k8s.io", ["v1"], "grpcroutes", "GRPCRoute", true, true),
  served("cert-manager.io", ["v1"], "certificaterequests", "CertificateRequest", true, true),
  served("split.smi-spec.io", ["v1alpha4"], "trafficsplits", "TrafficSplit"),
  served("access.smi-spec.io", ["v1alpha3"], "traffictargets", "TrafficTarget"),
  served("specs.smi-spec.io", ["v1alpha4"], "httproutegroups", "HTTPRouteGroup"),
  served("specs.smi-spec.io", ["v1alpha4"], "tcproutes", "TCPRoute"),
];

export function typeKey({ group, plural }: Pick<ServedType, "group" | "plural">): string {
  return `${group}/${plural}`;
}
