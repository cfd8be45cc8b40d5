import { createHash } from "node:crypto";
import type { KubeObject, OwnerReference } from "../api/object.ts";
import { apiVersionOf, type ResourceType, SERVICES } from "../api/resource-type.ts";
import { endpointAddress, endpointNode, type KubeSlice } from "../digest/endpoint-slice.ts";
import { isOurAnnotation, LABEL } from "../labels.ts";
import type { MergedPort, MergedService } from "./merge.ts";

/** An object that should be there, as server-side apply takes it. */
export interface Desired {
  readonly type: ResourceType;
  readonly object: KubeObject;
}

export interface ImportName {
  readonly namespace: string;
  readonly name: string;
}

const MANAGED = { [LABEL.managedBy]: LABEL.manager };
/** Service names have at most 63 characters. */
const MAX_STEM = 40;

/** Stable, a DNS label, and recognizable: `imported-cart-1a2b3c4d5e`. */
export function derivedName({ namespace, name }: ImportName): string {
  return `imported-${name.slice(0, MAX_STEM).replace(/-+$/, "")}-${shortHash(`${namespace}/${name}`)}`;
}

export function sliceName(target: ImportName, cluster: string, part: string): string {
  return `${derivedName(target)}-${shortHash(`${cluster} ${part}`)}`;
}

export function importObject(
  type: ResourceType,
  { namespace, name }: ImportName,
  merged: MergedService,
  ips: readonly string[],
  installation: OwnerReference | undefined,
): Desired {
  const { labels, annotations } = merged.properties;
  const metadata = {
    namespace,
    name,
    labels: { ...labels, ...MANAGED },
    ...(annotations === undefined ? {} : { annotations: foreignAnnotations(annotations) }),
    // Goes with the installation, and takes all that it owns with it.
    ...(installation === undefined ? {} : { ownerReferences: [installation] }),
  };
  return { type, object: { ...headOf(type), metadata, spec: importSpec(merged, ips) } };
}

/** Another cluster's export gives no orders here: not that its import is an alias, nor what we applied. */
function foreignAnnotations(annotations: { readonly [key: string]: string }): {
  readonly [key: string]: string;
} {
  return Object.fromEntries(Object.entries(annotations).filter(([key]) => !isOurAnnotation(key)));
}

/** What somebody's own ServiceImport is filled with: nothing but its spec is ours. */
export function aliasObject(
  type: ResourceType,
  { namespace, name, uid }: ImportName & { readonly uid: string },
  merged: MergedService,
  ips: readonly string[],
): Desired {
  // With its uid, or applying would make it anew where it was deleted meanwhile.
  const metadata = { namespace, name, uid };
  return { type, object: { ...headOf(type), metadata, spec: importSpec(merged, ips) } };
}

function importSpec({ properties, ports }: MergedService, ips: readonly string[]): object {
  const { headless = false, sessionAffinity, sessionAffinitySeconds } = properties;
  return {
    type: headless ? "Headless" : "ClusterSetIP",
    ports: ports.map(portOf),
    ...(ips.length === 0 || headless ? {} : { ips }),
    ...(sessionAffinity === undefined ? {} : { sessionAffinity }),
    ...(sessionAffinity === undefined
      ? {}
      : { sessionAffinityConfig: { clientIP: { timeoutSeconds: sessionAffinitySeconds ?? 10_800 } } }),
    ...(properties.internalTrafficPolicy === undefined
      ? {}
      : { internalTrafficPolicy: properties.internalTrafficPolicy }),
    ...(properties.trafficDistribution === undefined
      ? {}
      : { trafficDistribution: properties.trafficDistribution }),
    ...(properties.ipFamilies === undefined ? {} : { ipFamilies: properties.ipFamilies }),
  };
}

export function derivedServiceObject(
  target: ImportName,
  merged: MergedService,
  owner: OwnerReference,
  listenOf: (port: number) => number,
): Desired {
  const { headless = false, sessionAffinity, sessionAffinitySeconds } = merged.properties;
  const metadata = {
    namespace: target.namespace,
    name: derivedName(target),
    labels: { ...MANAGED, [LABEL.serviceName]: target.name },
    ownerReferences: [owner],
  };
  const spec = {
    type: "ClusterIP",
    ...(headless ? { clusterIP: "None" } : {}),
    ports: merged.ports.map((port) => ({
      ...portOf(port),
      name: portName(port, merged),
      targetPort: listenOf(port.port),
    })),
    ...(sessionAffinity === undefined
      ? {}
      : {
          sessionAffinity,
          sessionAffinityConfig: { clientIP: { timeoutSeconds: sessionAffinitySeconds ?? 10_800 } },
        }),
  };
  return { type: SERVICES, object: { ...headOf(SERVICES), metadata, spec } };
}

export interface SliceContent {
  readonly cluster: string;
  /** Tells the slices of one cluster apart. */
  readonly part: string;
  readonly addressType: "IPv4" | "IPv6";
  readonly ports: readonly { readonly port: MergedPort; readonly target: number }[];
  /** `address` or `address node`. */
  readonly endpoints: readonly string[];
}

export function sliceObject(
  type: ResourceType,
  target: ImportName,
  merged: MergedService,
  owner: OwnerReference,
  content: SliceContent,
): Desired {
  const metadata = {
    namespace: target.namespace,
    name: sliceName(target, content.cluster, content.part),
    labels: {
      ...MANAGED,
      "kubernetes.io/service-name": derivedName(target),
      "endpointslice.kubernetes.io/managed-by": "isthmus.dev",
      [LABEL.serviceName]: target.name,
      [LABEL.sourceCluster]: content.cluster,
    },
    ownerReferences: [owner],
  };
  const object = {
    ...headOf(type),
    metadata,
    addressType: content.addressType,
    ports: content.ports.map(({ port, target: number }) => ({
      ...portOf(port),
      name: portName(port, merged),
      port: number,
    })),
    endpoints: content.endpoints.map((endpoint) => endpointOf(type, endpoint)),
  };
  return { type, object };
}

function endpointOf(type: ResourceType, endpoint: string): object {
  const node = endpointNode(endpoint);
  return {
    addresses: [endpointAddress(endpoint)],
    conditions: { ready: true },
    // v1beta1 spells it as a topology label.
    ...(node === undefined || type.version !== "v1" ? {} : { nodeName: node }),
  };
}

/** The parts of a local slice that an importer's mirror of it needs: its ports by the merged service's names. */
export function mirroredPorts(
  slice: KubeSlice,
  shared: readonly MergedPort[],
): readonly { readonly port: MergedPort; readonly target: number }[] {
  return shared.flatMap((port) => {
    const found = slice.ports.find(({ name, protocol }) => name === (port.name ?? "") && protocol === "TCP");
    return found === undefined ? [] : [{ port, target: found.port }];
  });
}

export function ownerOf(type: ResourceType, name: string, uid: string): OwnerReference {
  return {
    apiVersion: apiVersionOf(type),
    kind: type.kind,
    name,
    uid,
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** Several ports need names, where the import may have none for one of them. */
function portName({ name, port }: MergedPort, { ports }: MergedService): string {
  return name ?? (ports.length > 1 ? `port-${port}` : "");
}

function portOf({ name, port, protocol, appProtocol }: MergedPort): object {
  return {
    port,
    protocol,
    ...(name === undefined ? {} : { name }),
    ...(appProtocol === undefined ? {} : { appProtocol }),
  };
}

function headOf(type: ResourceType): { readonly apiVersion: string; readonly kind: string } {
  return { apiVersion: apiVersionOf(type), kind: type.kind };
}

export function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 10);
}
