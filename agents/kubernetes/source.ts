// Longer than other files: what is kept of a cluster, and what follows from each change of it, are read together.
import type { Logger } from "../../federation/model/log.ts";
import { MAX_VERSIONS, service as serviceSchema } from "../../federation/model/wire/api.ts";
import type { Problem } from "../../federation/model/problem.ts";
import type { Service, ServiceEndpoint } from "../../federation/model/service.ts";
import { type SpiffeId, type TrustDomain, workloadSpiffeId } from "../../federation/model/spiffe-id.ts";
import { createWatch, type PublishableWatch } from "../../gateway/dataplane/index.ts";
import type {
  EndpointListener,
  EntryPort,
  PodEntries,
  ServicesSource,
  Topology,
} from "../../gateway/discovery/index.ts";
import type { Clock, Random, Timer } from "../../gateway/process/clock.ts";
import type { ImportedServices } from "../dns/zone.ts";
import type { CapturedPort } from "../capture/rules.ts";
import type { KubeClient } from "./api/client.ts";
import { createInformer, type Informer } from "./api/informer.ts";
import type { KubeObject } from "./api/object.ts";
import {
  ENDPOINT_SLICES,
  NAMESPACES,
  PODS,
  type ResourceType,
  SERVICE_EXPORTS,
  SERVICES,
} from "./api/resource-type.ts";
import { agentAddresses } from "./agent-addresses.ts";
import {
  type KubeSlice,
  digestSlice,
  primarySlices,
  type SlicedEndpoint,
  sliceEndpoints,
} from "./digest/endpoint-slice.ts";
import { digestExport, digestNamespace, type KubeExport, type KubeNamespace } from "./digest/mcs.ts";
import { digestPod, type KubePod } from "./digest/pod.ts";
import { digestService, type KubeService, portProtocol } from "./digest/service.ts";
import { importedServices } from "./imported-services.ts";
import { AGENT_SERVICE, ANNOTATION, GATEWAY_SERVICE } from "./labels.ts";
import { MeshView } from "./mesh-view.ts";
import { SliceIndex } from "./slice-index.ts";

export interface KubernetesSourceOptions {
  readonly client: KubeClient;
  readonly trustDomain: TrustDomain;
  readonly role: "gateway" | "agent";
  /** Agents follow the pods of their own node only. */
  readonly node?: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Changes come in bursts: a deployment's roll-out, a list. The registry hears of them together. */
const GATHER_MS = 20;

/**
 * A cluster's services, endpoints and workloads as its API server tells them. Until a kind was listed completely once,
 * nothing is concluded from what is absent; when following breaks, what is known stays.
 */
export class KubernetesSource implements ServicesSource {
  readonly topology: PublishableWatch<Topology>;
  readonly pods: PodEntries;
  /** For names in `clusterset.local`. */
  readonly imported: ImportedServices;
  /** Agents only: service addresses to take over on this node. */
  readonly captured = createWatch<readonly CapturedPort[]>([]);
  /** Agents only: this cluster's own services, called under mutual TLS. */
  readonly mesh: MeshView;
  readonly #options: KubernetesSourceOptions;
  readonly #services: Informer<KubeService>;
  readonly #exports: Informer<KubeExport>;
  readonly #slices: Informer<KubeSlice>;
  readonly #pods: Informer<KubePod>;
  /** Agents only. */
  readonly #namespaces: Informer<KubeNamespace>;
  readonly #index = new SliceIndex();
  readonly #entryPorts = createWatch<readonly EntryPort[]>([]);
  /** `ns/shop/sa/web` by address. */
  readonly #callers = new Map<string, SpiffeId>();
  readonly #ids = new Map<string, SpiffeId>();
  /** By node: pods of each account, `shop/web`. */
  readonly #accounts = new Map<string, Map<string, number>>();
  /** Agents only: the accounts of this node's pods, whose identities it needs. */
  readonly #wanted = createWatch<readonly SpiffeId[]>([]);
  readonly #listeners = new Set<EndpointListener>();
  /** What was told last, by `cart.shop:80`. */
  readonly #told = new Map<string, readonly ServiceEndpoint[]>();
  /** By pod address. */
  readonly #versions = new Map<string, string>();
  /** Namespaces with pods whose version was learned or lost: their endpoints are told again. */
  readonly #relabelled = new Set<string>();
  #timer: Timer | undefined;

  constructor(options: KubernetesSourceOptions) {
    this.#options = options;
    this.topology = createWatch<Topology>({ offered: undefined, gateways: [], agents: [], workloads: [] });
    const node = options.role === "agent" ? options.node : undefined;
    this.#services = this.#informer([SERVICES], digestService, (key) => this.#serviceChanged(key));
    this.#exports = this.#informer(SERVICE_EXPORTS, digestExport, (key) => this.#serviceChanged(key));
    this.#slices = this.#informer(ENDPOINT_SLICES, digestSlice, (_, next, previous) => {
      this.#index.change(next, previous);
      for (const slice of [previous, next]) if (slice !== undefined) this.#sliceChanged(slice);
    });
    this.#pods = this.#informer(
      [PODS],
      digestPod,
      (_, next, previous) => this.#podChanged(next, previous),
      node === undefined ? {} : { fieldSelector: `spec.nodeName=${node}` },
    );
    this.#namespaces = this.#informer([NAMESPACES], digestNamespace, () => this.#schedule());
    this.mesh = new MeshView({
      services: this.#services.items,
      namespaces: this.#namespaces.items,
      pods: this.#pods.items,
      slices: this.#index,
      node,
    });
    this.imported = importedServices(
      this.#services,
      this.#index,
      () => this.#services.known && this.#slices.known,
    );
    this.pods = {
      callerOf: (address) => this.#callers.get(plainAddress(address)),
      ports: this.#entryPorts,
      accounts: this.#wanted,
    };
  }

  start(): void {
    for (const informer of this.#informers()) informer.start();
  }

  followEndpoints(listener: EndpointListener): () => void {
    this.#listeners.add(listener);
    for (const [key, endpoints] of this.#told) listener(key, endpoints);
    return () => this.#listeners.delete(listener);
  }

  /** Why the source is not up to date. */
  problems(): readonly Problem[] {
    return this.#informers().flatMap(({ problem }) => problem.current ?? []);
  }

  unready(): string | undefined {
    return this.known ? undefined : "waiting for the first complete lists of the Kubernetes API server";
  }

  /** Whether everything was listed once. */
  get known(): boolean {
    return this.#informers().every(({ known }) => known);
  }

  stop(): void {
    this.#timer?.cancel();
    for (const informer of this.#informers()) informer.stop();
  }

  #informers(): readonly Informer<unknown>[] {
    const common = [this.#services, this.#exports, this.#slices, this.#pods];
    return this.#options.role === "agent" ? [...common, this.#namespaces] : common;
  }

  #informer<T>(
    types: readonly ResourceType[],
    digest: (object: KubeObject) => T | undefined,
    onChange: (key: string, next: T | undefined, previous: T | undefined) => void,
    selectors: { readonly fieldSelector?: string } = {},
  ): Informer<T> {
    const { client, clock, random, log } = this.#options;
    const onListed = (): void => this.#schedule();
    return createInformer<T>({ client, types, clock, random, log, digest, onChange, onListed, ...selectors });
  }

  /** Whether a pod of this account is scheduled on that node. */
  runsOn(namespace: string, account: string, node: string): boolean {
    return (this.#accounts.get(node)?.get(`${namespace}/${account}`) ?? 0) > 0;
  }

  get knowsPods(): boolean {
    return this.#pods.known;
  }

  #countAccount({ namespace, serviceAccount, node }: KubePod, by: 1 | -1): void {
    if (node === undefined) return;
    const accounts = this.#accounts.get(node) ?? new Map<string, number>();
    const key = `${namespace}/${serviceAccount}`;
    const count = (accounts.get(key) ?? 0) + by;
    if (count > 0) accounts.set(key, count);
    else accounts.delete(key);
    if (accounts.size > 0) this.#accounts.set(node, accounts);
    else this.#accounts.delete(node);
  }

  #podChanged(next: KubePod | undefined, previous: KubePod | undefined): void {
    if (previous !== undefined) this.#countAccount(previous, -1);
    if (next !== undefined) this.#countAccount(next, 1);
    if (this.#options.role === "agent") this.#schedule();
    this.#versionChanged(next, previous);
    for (const address of previous?.addresses ?? [])
      if (!next?.addresses.includes(address)) this.#callers.delete(address);
    if (next === undefined) return;
    const id = this.#id(next.namespace, next.serviceAccount);
    for (const address of next.addresses) this.#callers.set(address, id);
  }

  #versionChanged(next: KubePod | undefined, previous: KubePod | undefined): void {
    for (const address of previous?.addresses ?? [])
      if (!next?.addresses.includes(address)) this.#versions.delete(address);
    for (const address of next?.addresses ?? []) {
      if (this.#versions.get(address) === next?.version) continue;
      if (next?.version === undefined) this.#versions.delete(address);
      else this.#versions.set(address, next.version);
      // Its endpoint may have been there before it was.
      this.#relabelled.add(next?.namespace ?? "");
      this.#schedule();
    }
  }

  #tellRelabelled(): void {
    if (this.#relabelled.size === 0) return;
    for (const [key, { namespace }] of this.#services.items)
      if (this.#relabelled.has(namespace)) this.#tellEndpoints(key);
    this.#relabelled.clear();
  }

  /** One object for all pods of an account. */
  #id(namespace: string, account: string): SpiffeId {
    const key = `${namespace}/${account}`;
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    const made = workloadSpiffeId(this.#options.trustDomain, namespace, account);
    this.#ids.set(key, made);
    return made;
  }

  /** Whose work must not grow with the cluster: endpoints change all the time, and what else is published does not rest on them. */
  #sliceChanged({ namespace, service }: KubeSlice): void {
    const key = `${namespace}/${service}`;
    this.#tellEndpoints(key);
    if (key === GATEWAY_SERVICE.key || key === AGENT_SERVICE.key) this.#schedule();
  }

  #serviceChanged(key: string): void {
    this.#tellEndpoints(key);
    this.#schedule();
  }

  /** The work of one service: its ports, and the endpoints of its own slices. */
  #tellEndpoints(key: string): void {
    const service = this.#services.items.get(key);
    if (service === undefined || !this.#isExported(key, service)) {
      const [namespace = "", name = ""] = key.split("/");
      for (const known of this.#toldPorts(`${name}.${namespace}:`)) this.#tell(known, []);
      return;
    }
    const { namespace, name } = service;
    const slices = primarySlices(service, this.#index.of(key));
    const current = new Set<string>();
    for (const { port, name: portName, protocol } of service.ports) {
      if (protocol !== "TCP") continue;
      const told = `${name}.${namespace}:${port}`;
      current.add(told);
      this.#tell(
        told,
        slices.flatMap((slice) => sliceEndpoints(slice, portName ?? "")),
      );
    }
    for (const known of this.#toldPorts(`${name}.${namespace}:`))
      if (!current.has(known)) this.#tell(known, []);
  }

  #toldPorts(prefix: string): readonly string[] {
    const service = this.#portsTold.get(prefix);
    return service === undefined ? [] : [...service];
  }

  /** Ports told by `cart.shop:`, so that a service finds its own among thousands. */
  readonly #portsTold = new Map<string, Set<string>>();

  #tell(key: string, given: readonly SlicedEndpoint[]): void {
    const nodes = new Map(given.map(({ address, node }) => [address, node]));
    const endpoints = [...nodes.keys()].sort().map((address) => this.#endpoint(address, nodes.get(address)));
    if (JSON.stringify(this.#told.get(key) ?? []) === JSON.stringify(endpoints)) return;
    const prefix = key.slice(0, key.indexOf(":") + 1);
    const ports = this.#portsTold.get(prefix) ?? new Set();
    if (endpoints.length === 0) {
      this.#told.delete(key);
      ports.delete(key);
    } else {
      this.#told.set(key, endpoints);
      ports.add(key);
    }
    if (ports.size === 0) this.#portsTold.delete(prefix);
    else this.#portsTold.set(prefix, ports);
    for (const listener of this.#listeners) listener(key, endpoints);
  }

  /** `10.0.0.1:80` or `[fd00::1]:80`, with what the pod there says of itself. */
  #endpoint(address: string, node: string | undefined): ServiceEndpoint {
    const host = address.slice(0, address.lastIndexOf(":")).replace(/^\[|\]$/g, "");
    const version = this.#versions.get(host);
    return {
      address,
      ...(version === undefined ? {} : { version }),
      ...(node === undefined ? {} : { node }),
    };
  }

  /** Of the endpoints that are ready; the same at every gateway, since all follow one API server. */
  #versionsOf({ namespace, name }: KubeService): readonly string[] {
    const told = this.#toldPorts(`${name}.${namespace}:`).flatMap((key) => this.#told.get(key) ?? []);
    const versions = new Set(told.flatMap(({ version }) => version ?? []));
    return [...versions].sort().slice(0, MAX_VERSIONS);
  }

  #isExported(key: string, service: KubeService): boolean {
    if (service.type === "ExternalName" || service.derivedFor !== undefined) return false;
    return service.exportLabel || this.#exports.items.get(key)?.deleting === false;
  }

  #schedule(): void {
    this.#timer ??= this.#options.clock.after(GATHER_MS, () => {
      this.#timer = undefined;
      this.#publish();
    });
  }

  #publish(): void {
    const { role } = this.#options;
    this.#tellRelabelled();
    const offered = this.#offered();
    const gateways = role === "agent" ? this.#gatewayAddresses() : [];
    const agents = role === "gateway" ? agentAddresses(this.#index) : [];
    if (role === "agent") {
      this.#publishCaptured();
      this.#publishWanted();
    }
    const before = this.topology.current;
    const same =
      JSON.stringify([before.offered, before.gateways, before.agents]) ===
      JSON.stringify([offered, gateways, agents]);
    if (!same) this.topology.publish({ ...before, offered, gateways, agents });
    const ports = this.#entries();
    if (JSON.stringify(ports) !== JSON.stringify(this.#entryPorts.current)) this.#entryPorts.publish(ports);
  }

  #offered(): readonly Service[] | undefined {
    if (!this.#services.known || !this.#exports.known) return undefined;
    const offered: Service[] = [];
    const candidates = new Set(this.#exports.items.keys());
    for (const [key, service] of this.#services.items) if (service.exportLabel) candidates.add(key);
    for (const key of [...candidates].sort()) {
      const service = this.#services.items.get(key);
      if (service === undefined || !this.#isExported(key, service)) continue;
      const { namespace, name } = service;
      const ports = service.ports
        .filter(({ protocol }) => protocol === "TCP")
        .map((port) => ({ port: port.port, protocol: portProtocol(port) }));
      const versions = this.#versionsOf(service);
      const offer = { namespace, name, ports, ...(versions.length === 0 ? {} : { versions }) };
      // More ports, or another name, than the registry takes: left out, so that the list as a whole is taken.
      if (serviceSchema.safeParse(offer).success) offered.push(offer);
    }
    return offered;
  }

  #gatewayAddresses(): readonly string[] {
    const { key, tunnelPort } = GATEWAY_SERVICE;
    const found = this.#index.of(key).flatMap((slice) => sliceEndpoints(slice, tunnelPort));
    return [...new Set(found.map(({ address }) => address))].sort();
  }

  #publishWanted(): void {
    const wanted = [...this.#accounts.values()]
      .flatMap((accounts) => [...accounts.keys()])
      .sort()
      .map((key) => {
        const [namespace = "", account = ""] = key.split("/");
        return this.#id(namespace, account);
      });
    const now = this.#wanted.current;
    const same = wanted.length === now.length && wanted.every(({ uri }, index) => uri === now[index]?.uri);
    if (!same) this.#wanted.publish(wanted);
  }

  #publishCaptured(): void {
    const captured: CapturedPort[] = [...this.mesh.refresh()];
    for (const { namespace, derivedFor, clusterIps, ports } of this.#services.items.values()) {
      if (derivedFor === undefined) continue;
      const strict = this.#namespaces.items.get(namespace)?.settings[ANNOTATION.mtls] === "strict";
      for (const address of clusterIps)
        for (const { port, targetPort } of ports)
          if (targetPort !== undefined) captured.push({ address, port, listen: targetPort, strict });
    }
    captured.sort((a, b) => a.listen - b.listen);
    if (JSON.stringify(captured) !== JSON.stringify(this.captured.current)) this.captured.publish(captured);
  }

  #entries(): readonly EntryPort[] {
    const entries: EntryPort[] = [];
    for (const { namespace, derivedFor: name, ports } of this.#services.items.values()) {
      if (name === undefined) continue;
      for (const { port, targetPort } of ports)
        if (targetPort !== undefined)
          entries.push({ service: { namespace, name }, port, listen: targetPort });
    }
    return entries.sort((a, b) => a.listen - b.listen);
  }
}

/** A dual-stack listener sees IPv4 peers as `::ffff:10.0.0.1`. */
function plainAddress(address: string): string {
  return address.startsWith("::ffff:") ? address.slice(7) : address;
}
