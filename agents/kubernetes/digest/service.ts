import { type PortProtocol, portProtocolOf } from "../../../federation/model/service.ts";
import type { KubeObject } from "../api/object.ts";
import { isOurAnnotation, LABEL } from "../labels.ts";
import { addresses, fieldsOf, integer, list, text, textMap, texts } from "./fields.ts";

/** What is kept of a Service. */
export interface KubeService {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly type: string;
  readonly headless: boolean;
  readonly clusterIps: readonly string[];
  readonly ports: readonly KubeServicePort[];
  /** Labels of its pods; absent where somebody else writes its EndpointSlices. */
  readonly selector?: { readonly [key: string]: string };
  readonly ipFamilies: readonly ("IPv4" | "IPv6")[];
  readonly sessionAffinity?: "ClientIP";
  readonly sessionAffinitySeconds?: number;
  readonly internalTrafficPolicy?: "Local";
  readonly trafficDistribution?: string;
  /** It is one of ours, made for an import. */
  readonly derivedFor?: string;
  /** Exported by a label, without a ServiceExport. */
  readonly exportLabel: boolean;
  readonly annotations: { readonly [key: string]: string };
  /** The whole object, kept for those that are ours alone. */
  readonly object?: KubeObject;
}

export interface KubeServicePort {
  readonly name?: string;
  readonly port: number;
  readonly protocol: "TCP" | "UDP" | "SCTP";
  readonly appProtocol?: string;
  readonly targetPort?: number;
}

const CLIENT_IP_SECONDS = 10_800;

export function digestService(object: KubeObject): KubeService | undefined {
  const { namespace, name, uid = "", labels, annotations = {} } = object.metadata;
  if (namespace === undefined) return undefined;
  const spec = fieldsOf(object.spec);
  const clusterIp = text(spec["clusterIP"]);
  const headless = clusterIp === "None";
  const clusterIps = headless || clusterIp === undefined ? [] : [clusterIp, ...texts(spec["clusterIPs"])];
  const affinity = fieldsOf(fieldsOf(spec["sessionAffinityConfig"])["clientIP"]);
  const seconds = integer(affinity["timeoutSeconds"]) ?? CLIENT_IP_SECONDS;
  const derivedFor = isManaged(labels) ? labels?.[LABEL.serviceName] : undefined;
  const selector = textMap(spec["selector"]);
  const distribution = text(spec["trafficDistribution"]);
  return {
    namespace,
    name,
    uid,
    type: text(spec["type"]) ?? "ClusterIP",
    headless,
    clusterIps: addresses(clusterIps),
    ports: list(spec["ports"]).flatMap(portOf),
    ipFamilies: texts(spec["ipFamilies"]).filter((family) => family === "IPv4" || family === "IPv6"),
    ...(spec["sessionAffinity"] === "ClientIP"
      ? { sessionAffinity: "ClientIP", sessionAffinitySeconds: seconds }
      : {}),
    ...(spec["internalTrafficPolicy"] === "Local" ? { internalTrafficPolicy: "Local" } : {}),
    ...(Object.keys(selector).length === 0 ? {} : { selector }),
    ...(distribution === undefined ? {} : { trafficDistribution: distribution }),
    ...(derivedFor === undefined ? {} : { derivedFor, object }),
    exportLabel: labels?.[LABEL.export] === "true",
    annotations: ourAnnotations(annotations),
  };
}

function portOf(value: unknown): readonly KubeServicePort[] {
  const port = fieldsOf(value);
  const number = integer(port["port"]);
  if (number === undefined) return [];
  const name = text(port["name"]);
  const appProtocol = text(port["appProtocol"]);
  const targetPort = integer(port["targetPort"]);
  const protocol = text(port["protocol"]) ?? "TCP";
  return [
    {
      port: number,
      protocol: protocol === "UDP" || protocol === "SCTP" ? protocol : "TCP",
      ...(name === undefined ? {} : { name }),
      ...(appProtocol === undefined ? {} : { appProtocol }),
      ...(targetPort === undefined ? {} : { targetPort }),
    },
  ];
}

// The prefix that meshes agreed on before there was a field for it.
const HTTP_NAME = /^(?:http|http2|grpc|grpc-web)(?:-|$)/;

/** How the bytes of a port are understood where they enter the mesh: as its owner says, else as each connection shows. */
export function portProtocol({
  appProtocol,
  name,
}: Pick<KubeServicePort, "appProtocol" | "name">): PortProtocol {
  if (appProtocol === undefined && name !== undefined && HTTP_NAME.test(name)) return "http";
  return portProtocolOf(appProtocol);
}

export function isManaged(labels: { readonly [key: string]: string } | undefined): boolean {
  return labels?.[LABEL.managedBy] === LABEL.manager;
}

/** Other annotations may be large, and none of our business. */
export function ourAnnotations(annotations: { readonly [key: string]: string }): {
  readonly [key: string]: string;
} {
  return Object.fromEntries(Object.entries(annotations).filter(([key]) => isOurAnnotation(key)));
}
