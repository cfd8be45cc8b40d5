import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import type { KubeObject } from "../../agents/kubernetes/api/object.ts";
import {
  ENDPOINT_SLICES,
  NAMESPACES,
  PODS,
  SERVICE_EXPORTS,
  SERVICES,
} from "../../agents/kubernetes/api/resource-type.ts";
import { namespace, pod, service, serviceExport, type ServiceOptions, slice } from "../kubernetes/objects.ts";
import { call, type KubeCluster, type KubeWorld, localAddress, startKubeWorld, until } from "./kube-world.ts";

const [SLICES] = ENDPOINT_SLICES;
const [EXPORTS] = SERVICE_EXPORTS;

/** Address of the pod `web-1`, of the account `web` of `shop`, in either cluster. */
export const WEB = localAddress(31);

export interface KubeEndpoint {
  readonly address: string;
  readonly port: number;
}

export interface WayOptions {
  /** `http` unless given. */
  readonly port?: string;
  /** Any cluster unless given. */
  readonly source?: string;
  readonly namespace?: string;
}

export interface ServeOptions extends ServiceOptions {
  /** Last part of the server's address. */
  readonly host?: number;
  readonly answer?: RequestListener;
}

/** Two clusters, east and west, with a namespace `shop`, a gateway that the API server knows, and a pod that calls. */
export interface KubeScene extends KubeWorld {
  readonly east: KubeCluster;
  readonly west: KubeCluster;
  /** A Service with one endpoint, which unless told otherwise says `<name> of <cluster>`. */
  serve(cluster: KubeCluster, name: string, options?: ServeOptions): Promise<void>;
  /** The same, exported. */
  offer(cluster: KubeCluster, name: string, options?: ServeOptions): Promise<void>;
  /** Ended with the scene. */
  readonly servers: { close(): void }[];
}

export async function startKubeScene(...namespaces: readonly string[]): Promise<KubeScene> {
  const world = await startKubeWorld(["east", "west"]);
  const servers: { close(): void }[] = [];
  for (const { api, gatewayHost } of world.clusters.values()) {
    for (const name of ["shop", ...namespaces]) await api.put(NAMESPACES, namespace(name));
    const gateway = { namespace: "isthmus-system", ports: [{ name: "tunnel", port: 15008 }] };
    await api.put(SERVICES, service("isthmus-gateway", gateway));
    await api.put(SLICES, slice("isthmus-gateway", { ...gateway, addresses: [gatewayHost] }));
    await api.put(PODS, pod("web-1", "web", WEB));
  }
  const scene: KubeScene = {
    ...world,
    servers,
    east: world.cluster("east"),
    west: world.cluster("west"),
    async serve(cluster, name, { host = 21, answer, ...options } = {}) {
      const address = localAddress(host, cluster === scene.east ? 2 : 3);
      const server = createServer(answer ?? ((_, response) => response.end(`${name} of ${cluster.name}`)));
      servers.push(server);
      server.listen(0, address);
      await once(server, "listening");
      const { port } = server.address() as AddressInfo;
      await cluster.api.put(SERVICES, service(name, options));
      const { namespace: space, ports = [{ name: "http" }] } = options;
      const targets = ports.map((each) => ({ name: each.name ?? "", port }));
      const at = {
        ports: targets,
        addresses: [address],
        ...(space === undefined ? {} : { namespace: space }),
      };
      await cluster.api.put(SLICES, slice(name, at));
    },
    async offer(cluster, name, options = {}) {
      await scene.serve(cluster, name, options);
      const { namespace: space } = options;
      await cluster.api.put(EXPORTS, serviceExport(name, space === undefined ? {} : { namespace: space }));
    },
    async close() {
      for (const server of servers) server.close();
      await world.close();
    },
  };
  return scene;
}

export type DerivedSlice = KubeObject & {
  readonly ports?: readonly { readonly name: string; readonly port: number }[];
  readonly endpoints?: readonly { readonly addresses: readonly string[] }[];
};

/** EndpointSlices of an imported service. */
export async function derivedSlices(
  { api }: Pick<KubeCluster, "api">,
  name: string,
  { source, namespace: space = "shop" }: WayOptions = {},
): Promise<readonly DerivedSlice[]> {
  const all = (await api.list(SLICES, space)) as readonly DerivedSlice[];
  return all.filter(
    ({ metadata: { labels = {} } }) =>
      labels["multicluster.kubernetes.io/service-name"] === name &&
      (source === undefined || labels["multicluster.kubernetes.io/source-cluster"] === source),
  );
}

/** Where kube-proxy would send a connection to an imported service; `undefined` while there is nowhere. */
export async function wayTo(
  cluster: Pick<KubeCluster, "api">,
  name: string,
  options: WayOptions = {},
): Promise<KubeEndpoint | undefined> {
  const { port: portName = "http" } = options;
  for (const { ports = [], endpoints = [] } of await derivedSlices(cluster, name, options)) {
    const port = ports.find((each) => each.name === portName)?.port;
    const address = endpoints[0]?.addresses[0];
    if (port !== undefined && address !== undefined) return { address, port };
  }
  return undefined;
}

/** Calls until it is answered with 200: the answer's body. */
export function reach(cluster: KubeCluster, name: string, options: WayOptions = {}): Promise<string> {
  const { namespace: space = "shop", port = "http" } = options;
  return until(`${cluster.name} reaches ${space}/${name}:${port}`, 15_000, async () => {
    const to = await wayTo(cluster, name, options);
    const answer = to === undefined ? undefined : await call(WEB, to).catch(() => undefined);
    return answer?.status === 200 ? answer.body : undefined;
  });
}
