import type { Service, ServiceEndpoint, ServiceName } from "../../federation/model/service.ts";
import type { SpiffeId } from "../../federation/model/spiffe-id.ts";
import { createWatch, type Watch } from "../dataplane/lifecycle/watch.ts";

/**
 * The port by which a member learns what its own cluster consists of: a file (`static-services.ts`) or Kubernetes. Slow
 * facts come whole; endpoints come one service port at a time, because there may be fifty thousand of them.
 */
export interface ServicesSource {
  readonly topology: Watch<Topology>;
  /** Tells every service port's endpoints at once, then each change of one; returns the way to stop. */
  followEndpoints(listener: EndpointListener): () => void;
  /** Present where workloads are known by their own addresses, and need no local address each. */
  readonly pods?: PodEntries;
  /** Why it does not know enough yet to be relied on. */
  unready?(): string | undefined;
  stop(): void;
}

/** `servicePort` is `cart.shop:80`; no endpoints when the port is gone. */
export type EndpointListener = (servicePort: string, endpoints: readonly ServiceEndpoint[]) => void;

export interface Topology {
  /** What the registry is told; `undefined` while this source does not know, since an empty list would withdraw all. */
  readonly offered: readonly Service[] | undefined;
  /** Where this cluster's agents find their gateways, `host:port`. */
  readonly gateways: readonly string[];
  /** Tunnel listeners of this cluster's agents; empty: the gateway serves workloads itself. */
  readonly agents: readonly AgentAddress[];
  /** Workloads that get a local address for every imported service. */
  readonly workloads: readonly SpiffeId[];
}

/** A tunnel listener, and whose endpoints it stands beside, where nodes are known. */
export interface AgentAddress {
  readonly address: string;
  readonly node?: string;
}

/** Entries that many workloads share: who calls is read off the connection's source address. */
export interface PodEntries {
  /** The workload that has this address; `undefined`: no pod of this cluster, or not one that may call. */
  callerOf(address: string): SpiffeId | undefined;
  /** Whose pods this process speaks for, where it has to be given their identities. */
  readonly accounts?: Watch<readonly SpiffeId[]>;
  readonly ports: Watch<readonly EntryPort[]>;
}

/** Where connections for one port of an imported service arrive. */
export interface EntryPort {
  /** Local name of the import. */
  readonly service: ServiceName;
  readonly port: number;
  readonly listen: number;
}

export const EMPTY_TOPOLOGY: Topology = { offered: undefined, gateways: [], agents: [], workloads: [] };

/** For a process that was given no source of services. */
export function noServices(): ServicesSource {
  return { topology: createWatch(EMPTY_TOPOLOGY), followEndpoints: () => () => {}, stop: () => {} };
}
