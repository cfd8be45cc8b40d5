/** A kind of object and where the API server keeps it. */
export interface ResourceType {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

export interface ObjectName {
  readonly namespace?: string;
  readonly name: string;
}

const core = (plural: string, kind: string, namespaced = true): ResourceType => ({
  group: "",
  version: "v1",
  plural,
  kind,
  namespaced,
});
const mcs = (plural: string, kind: string, version: string): ResourceType => ({
  group: "multicluster.x-k8s.io",
  version,
  plural,
  kind,
  namespaced: true,
});
const discovery = (version: string): ResourceType => ({
  group: "discovery.k8s.io",
  version,
  plural: "endpointslices",
  kind: "EndpointSlice",
  namespaced: true,
});

const gatewayApi = (plural: string, kind: string): ResourceType => ({
  group: "gateway.networking.k8s.io",
  version: "v1",
  plural,
  kind,
  namespaced: true,
});
const smi = (group: string, version: string, plural: string, kind: string): ResourceType => ({
  group: `${group}.smi-spec.io`,
  version,
  plural,
  kind,
  namespaced: true,
});

export const SERVICES = core("services", "Service");
export const PODS = core("pods", "Pod");
export const NODES = core("nodes", "Node", false);
export const SECRETS = core("secrets", "Secret");
export const CONFIG_MAPS = core("configmaps", "ConfigMap");
export const NAMESPACES = core("namespaces", "Namespace", false);
/** Newest first: the first that the API server serves is used. */
export const ENDPOINT_SLICES = [discovery("v1"), discovery("v1beta1")] as const;
export const SERVICE_EXPORTS = [
  mcs("serviceexports", "ServiceExport", "v1beta1"),
  mcs("serviceexports", "ServiceExport", "v1alpha1"),
] as const;
export const SERVICE_IMPORTS = [
  mcs("serviceimports", "ServiceImport", "v1beta1"),
  mcs("serviceimports", "ServiceImport", "v1alpha1"),
] as const;
export const HTTP_ROUTES = gatewayApi("httproutes", "HTTPRoute");
export const GRPC_ROUTES = gatewayApi("grpcroutes", "GRPCRoute");
export const TRAFFIC_SPLITS = smi("split", "v1alpha4", "trafficsplits", "TrafficSplit");
export const TRAFFIC_TARGETS = smi("access", "v1alpha3", "traffictargets", "TrafficTarget");
export const HTTP_ROUTE_GROUPS = smi("specs", "v1alpha4", "httproutegroups", "HTTPRouteGroup");
export const TCP_ROUTES = smi("specs", "v1alpha4", "tcproutes", "TCPRoute");
export const EVENTS = core("events", "Event");
export const CLUSTER_ROLES: ResourceType = {
  group: "rbac.authorization.k8s.io",
  version: "v1",
  plural: "clusterroles",
  kind: "ClusterRole",
  namespaced: false,
};
export const LEASES: ResourceType = {
  group: "coordination.k8s.io",
  version: "v1",
  plural: "leases",
  kind: "Lease",
  namespaced: true,
};
/** cert-manager's. */
export const CERTIFICATE_REQUESTS: ResourceType = {
  group: "cert-manager.io",
  version: "v1",
  plural: "certificaterequests",
  kind: "CertificateRequest",
  namespaced: true,
};
export const TOKEN_REVIEWS: ResourceType = {
  group: "authentication.k8s.io",
  version: "v1",
  plural: "tokenreviews",
  kind: "TokenReview",
  namespaced: false,
};

export function apiVersionOf({ group, version }: ResourceType): string {
  return group === "" ? version : `${group}/${version}`;
}

/** `/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/x`; without a name the collection. */
export function pathOf(type: ResourceType, at: Partial<ObjectName> = {}, subresource?: string): string {
  const root = type.group === "" ? `/api/${type.version}` : `/apis/${type.group}/${type.version}`;
  const namespace =
    type.namespaced && at.namespace !== undefined ? `/namespaces/${segment(at.namespace)}` : "";
  const name = at.name === undefined ? "" : `/${segment(at.name)}`;
  return `${root}${namespace}/${type.plural}${name}${subresource === undefined ? "" : `/${subresource}`}`;
}

/** `shop/cart`, or the name alone where there is no namespace. */
export function nameText({ namespace, name }: ObjectName): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

function segment(text: string): string {
  return encodeURIComponent(text);
}
