import { formatAddress } from "../../../federation/model/address.ts";
import type { KubeObject } from "../api/object.ts";
import { LABEL } from "../labels.ts";
import { addresses, fieldsOf, integer, list, text, texts } from "./fields.ts";
import { isManaged, type KubeService } from "./service.ts";

/** What is kept of an EndpointSlice: its ready addresses, with as few objects as possible, since there may be 50,000. */
export interface KubeSlice {
  readonly namespace: string;
  readonly name: string;
  readonly service: string;
  readonly addressType: string;
  readonly ports: readonly KubeSlicePort[];
  /** Ready ones: `10.0.0.1`, or `10.0.0.1 node-1` where the node is known. */
  readonly endpoints: readonly string[];
  /** Ours, made for an import from this cluster. */
  readonly sourceCluster?: string;
  readonly derivedFor?: string;
  readonly object?: KubeObject;
}

export interface KubeSlicePort {
  readonly name: string;
  readonly port: number;
  readonly protocol: string;
}

export function digestSlice(object: KubeObject): KubeSlice | undefined {
  const { namespace, name, labels } = object.metadata;
  const service = labels?.["kubernetes.io/service-name"];
  if (namespace === undefined || service === undefined) return undefined;
  const addressType = text(object["addressType"]) ?? "IPv4";
  if (addressType !== "IPv4" && addressType !== "IPv6") return undefined;
  const ours = isManaged(labels)
    ? {
        sourceCluster: labels?.[LABEL.sourceCluster] ?? "",
        derivedFor: labels?.[LABEL.serviceName] ?? "",
        object,
      }
    : {};
  return {
    namespace,
    name,
    service,
    addressType,
    ports: list(object["ports"]).flatMap(portOf),
    endpoints: list(object["endpoints"]).flatMap(endpointOf),
    ...ours,
  };
}

function portOf(value: unknown): readonly KubeSlicePort[] {
  const port = fieldsOf(value);
  const number = integer(port["port"]);
  if (number === undefined) return [];
  return [{ name: text(port["name"]) ?? "", port: number, protocol: text(port["protocol"]) ?? "TCP" }];
}

/** `ready` absent means unknown, which consumers should take for ready (discovery.k8s.io/v1). */
function endpointOf(value: unknown): readonly string[] {
  const endpoint = fieldsOf(value);
  const { ready, terminating } = fieldsOf(endpoint["conditions"]);
  if (ready === false || terminating === true) return [];
  const node = text(endpoint["nodeName"]);
  // Only the first address counts: the field is a list for historical reasons.
  const [address] = addresses(texts(endpoint["addresses"]).slice(0, 1));
  if (address === undefined) return [];
  return [node === undefined ? address : `${address} ${node}`];
}

/** `10.0.0.1` of `10.0.0.1 node-1`. */
export function endpointAddress(endpoint: string): string {
  const space = endpoint.indexOf(" ");
  return space === -1 ? endpoint : endpoint.slice(0, space);
}

export function endpointNode(endpoint: string): string | undefined {
  const space = endpoint.indexOf(" ");
  return space === -1 ? undefined : endpoint.slice(space + 1);
}

/** An endpoint's address for one port, and the node that it is on. */
export interface SlicedEndpoint {
  /** `10.0.0.1:80`, `[fd00::1]:80`. */
  readonly address: string;
  readonly node: string | undefined;
}

/** Every ready endpoint, for one port. */
export function sliceEndpoints(slice: KubeSlice, portName: string): readonly SlicedEndpoint[] {
  const port = slice.ports.find(({ name, protocol }) => name === portName && protocol === "TCP");
  if (port === undefined) return [];
  return slice.endpoints.map((endpoint) => ({
    address: formatAddress({ host: endpointAddress(endpoint), port: port.port }),
    node: endpointNode(endpoint),
  }));
}

/** Of two families the one that its Service names first: each pod is one endpoint, and may not listen on the other. */
export function primarySlices(
  { ipFamilies: [first] }: Pick<KubeService, "ipFamilies">,
  slices: readonly KubeSlice[],
): readonly KubeSlice[] {
  const own = slices.filter(({ addressType }) => addressType === first);
  return own.length === 0 ? slices : own;
}
