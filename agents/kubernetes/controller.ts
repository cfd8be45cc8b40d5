// Longer than other files: every event that asks for work, and what it asks for, are listed in one place.
import type { AppliedResource } from "../../federation/model/resource.ts";
import type { Logger } from "../../federation/model/log.ts";
import { type Problem, PROBLEMS } from "../../federation/model/problem.ts";
import type { Snapshot } from "../../federation/model/snapshot.ts";
import { declareResponse } from "../../federation/model/wire/api.ts";
import { decode } from "../../federation/model/wire/decode.ts";
import { decodeAppliedResource } from "../../federation/model/wire/resource.ts";
import type { Watch } from "../../gateway/dataplane/index.ts";
import { createPush, type Push, type PushAnswer } from "../../gateway/discovery/push.ts";
import type { MemberClient } from "../../gateway/discovery/member-client.ts";
import type { Clock, Random } from "../../gateway/process/clock.ts";
import { AliasIndex } from "./alias-index.ts";
import { applyChanges, describeChange } from "./apply.ts";
import { Clusterset } from "./clusterset.ts";
import type { KubeClient } from "./api/client.ts";
import { problemOf } from "./api/failure.ts";
import { createInformer, type Informer, type InformerOptions } from "./api/informer.ts";
import type { KubeObject, OwnerReference } from "./api/object.ts";
import {
  ENDPOINT_SLICES,
  NAMESPACES,
  PODS,
  type ResourceType,
  SERVICE_EXPORTS,
  SERVICE_IMPORTS,
  SERVICES,
} from "./api/resource-type.ts";
import { digestSlice, endpointAddress, type KubeSlice } from "./digest/endpoint-slice.ts";
import {
  digestExport,
  digestImport,
  digestNamespace,
  type KubeExport,
  type KubeImport,
  type KubeNamespace,
} from "./digest/mcs.ts";
import { digestService, type KubeService } from "./digest/service.ts";
import { ForeignObjects } from "./foreign-objects.ts";
import { ForeignRoutes } from "./foreign-routes.ts";
import { GATEWAY_SERVICE, SYSTEM_NAMESPACE } from "./labels.ts";
import { declaredResources, isDeclared } from "./mcs/declared.ts";
import { derivedName } from "./mcs/objects.ts";
import { EntryPorts } from "./mcs/ports.ts";
import { holdsNewer } from "./mcs/plan.ts";
import { parseAliasSource } from "./mcs/alias.ts";
import { currentObjects } from "./mcs/import-plan.ts";
import { planService } from "./mcs/service-plan.ts";
import type { ServiceView } from "./mcs/service-view.ts";
import { Policies } from "./policies.ts";
import { SliceIndex } from "./slice-index.ts";
import { TrafficTargets } from "./traffic-targets.ts";
import { WorkQueue } from "./work-queue.ts";

export interface ControllerOptions {
  readonly client: KubeClient;
  readonly cluster: string;
  readonly snapshot: Watch<Snapshot | undefined>;
  readonly registry: MemberClient;
  /** Only the leader writes; the others follow, so that they know everything when their turn comes. */
  readonly leading: Watch<boolean>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Owner of everything that is made here, so that uninstalling leaves nothing. */
  readonly installation?: OwnerReference;
}

const PARALLEL = 8;
const GATHER_MS = 5;
// What the registry has is said again now and then: it may have been restored from a backup.
const DECLARE_TIMES = { gatherMs: GATHER_MS, heartbeatMs: 60_000, backoff: { baseMs: 100, capMs: 5_000 } };
/** Everything is looked at again this often, in case an event was lost that nobody knows of. */
const RESYNC_MS = 600_000;

/** Keeps a cluster's Kubernetes objects and the registry in step (KEP-1645). Decisions are `planService`'s. */
export class Controller {
  readonly #options: ControllerOptions;
  readonly #services: Informer<KubeService>;
  readonly #slices: Informer<KubeSlice>;
  readonly #exports: Informer<KubeExport>;
  readonly #imports: Informer<KubeImport>;
  readonly #namespaces: Informer<KubeNamespace>;
  readonly #policies: Policies;
  readonly #foreign: ForeignObjects;
  readonly #routes: ForeignRoutes;
  readonly #targets: TrafficTargets;
  readonly #gatewayPods: Informer<string>;
  readonly #index = new SliceIndex();
  readonly #aliases = new AliasIndex();
  readonly #clusterset: Clusterset;
  readonly #ports = new EntryPorts();
  readonly #queue: WorkQueue;
  readonly #declare: Push;
  readonly #stops: (() => void)[] = [];
  /** Keys with objects of a leader who knew a newer snapshot: looked at again with each that comes. */
  readonly #ahead = new Set<string>();
  /** Exports that the registry would refuse, and why. */
  readonly #unfit = new Map<string, string>();
  /** What was logged last, by key. */
  readonly #complaints = new Map<string, string>();

  constructor(options: ControllerOptions) {
    const { clock, random } = options;
    this.#options = options;
    this.#queue = new WorkQueue({ clock, random, parallel: PARALLEL, work: (key) => this.#reconcile(key) });
    this.#declare = createPush(clock, random, DECLARE_TIMES, () => this.#sendDeclaration());
    this.#services = this.#informer([SERVICES], digestService, (key, next, previous) => {
      const derivedFor = (next ?? previous)?.derivedFor;
      const namespace = (next ?? previous)?.namespace ?? "";
      if (next !== undefined) this.#learnPorts(next);
      this.#touch(derivedFor === undefined ? key : `${namespace}/${derivedFor}`);
      this.#declare.changed();
    });
    this.#slices = this.#informer(ENDPOINT_SLICES, digestSlice, (_, next, previous) => {
      this.#index.change(next, previous);
      for (const slice of [next, previous]) if (slice !== undefined) this.#sliceChanged(slice);
    });
    this.#exports = this.#informer(SERVICE_EXPORTS, digestExport, (key) => {
      this.#touch(key);
      this.#declare.changed();
    });
    this.#imports = this.#informer(SERVICE_IMPORTS, digestImport, (key, next, previous) => {
      this.#queue.add(key);
      if (this.#aliases.change(key, next, previous)) this.#declare.changed();
    });
    const changed = (): void => this.#declare.changed();
    this.#policies = new Policies(options.cluster, options, changed);
    this.#foreign = new ForeignObjects(options, changed);
    this.#routes = new ForeignRoutes(options.cluster, this.#foreign);
    const facts = { objects: this.#foreign, services: this.#services.items, slices: this.#index };
    this.#targets = new TrafficTargets(options.cluster, facts, options, changed);
    this.#gatewayPods = this.#informer([PODS], ({ metadata }) => metadata.name, changed, {
      namespace: SYSTEM_NAMESPACE,
      labelSelector: `app.kubernetes.io/name=${GATEWAY_SERVICE.name}`,
    });
    this.#namespaces = this.#informer([NAMESPACES], digestNamespace, (name) => {
      this.#namespaceChanged(name);
      this.#declare.changed();
    });
    this.#clusterset = new Clusterset(options.cluster, {
      services: this.#services.items,
      exports: this.#exports.items,
      imports: this.#imports.items,
      namespaces: this.#namespaces.items,
      slices: this.#index,
    });
  }

  start(): void {
    const { snapshot, leading, clock } = this.#options;
    this.#followSnapshot(snapshot.current);
    this.#stops.push(
      snapshot.subscribe((next, previous) => {
        this.#followSnapshot(next);
        // The first one, though it may say nothing new: without any, nothing was declared.
        if (previous === undefined) this.#everything();
      }),
    );
    this.#stops.push(
      leading.subscribe((leads) => {
        if (leads) this.#everything();
      }),
    );
    for (const informer of this.#informers()) informer.start();
    this.#gatewayPods.start();
    this.#policies.start();
    this.#foreign.start();
    const resync = (): void => {
      this.#everything();
      const timer = clock.after(RESYNC_MS, resync);
      this.#stops.push(() => timer.cancel());
    };
    resync();
  }

  stop(): void {
    for (const informer of this.#informers()) informer.stop();
    this.#gatewayPods.stop();
    this.#policies.stop();
    this.#foreign.stop();
    this.#targets.stop();
    for (const stop of this.#stops) stop();
    this.#queue.stop();
    this.#declare.stop();
  }

  /** When there is nothing left to do. */
  whenIdle(): Promise<void> {
    return this.#queue.whenIdle();
  }

  /** Why it cannot do all of its work. */
  problems(): readonly Problem[] {
    const own = [...this.#informers(), this.#gatewayPods].flatMap(({ problem }) => problem.current ?? []);
    return [...own, ...this.#policies.problems(), ...this.#foreign.problems(), ...this.#targets.problems()];
  }

  get known(): boolean {
    return this.#informers().every(({ known }) => known);
  }

  #informers(): readonly Informer<unknown>[] {
    return [this.#services, this.#slices, this.#exports, this.#imports, this.#namespaces];
  }

  #informer<T>(
    types: readonly ResourceType[],
    digest: (object: KubeObject) => T | undefined,
    onChange: (key: string, next: T | undefined, previous: T | undefined) => void,
    selectors: Pick<InformerOptions<T>, "namespace" | "labelSelector"> = {},
  ): Informer<T> {
    const { client, clock, random, log } = this.#options;
    return createInformer<T>({
      client,
      types,
      clock,
      random,
      log,
      digest,
      onChange,
      ...selectors,
      onListed: () => {
        this.#declare.changed();
        if (this.known) this.#everything();
      },
    });
  }

  /** Something is known of this name that was not; what stands for it is looked at too. */
  #touch(key: string): void {
    this.#queue.add(key);
    for (const alias of this.#aliases.of(key)) this.#queue.add(alias);
  }

  #everything(): void {
    for (const items of [this.#exports.items, this.#imports.items, this.#clusterset.offers])
      for (const key of items.keys()) this.#queue.add(key);
    for (const [key, { exportLabel, derivedFor, namespace }] of this.#services.items) {
      if (exportLabel) this.#queue.add(key);
      if (derivedFor !== undefined) this.#queue.add(`${namespace}/${derivedFor}`);
    }
    this.#declare.changed();
  }

  #sliceChanged({ namespace, service, derivedFor }: KubeSlice): void {
    if (derivedFor !== undefined) return this.#queue.add(`${namespace}/${derivedFor}`);
    const key = `${namespace}/${service}`;
    // Where the gateways are is part of every import.
    if (key === GATEWAY_SERVICE.key)
      for (const imported of this.#imports.items.keys()) this.#queue.add(imported);
    else if (this.#exports.items.has(key) || this.#services.items.get(key)?.exportLabel === true)
      this.#touch(key);
  }

  #namespaceChanged(name: string): void {
    const prefix = `${name}/`;
    for (const items of [this.#exports.items, this.#imports.items, this.#clusterset.offers])
      for (const key of items.keys()) if (key.startsWith(prefix)) this.#queue.add(key);
  }

  #followSnapshot(snapshot: Snapshot | undefined): void {
    const changed = this.#clusterset.follow(snapshot);
    for (const key of [...changed, ...this.#ahead]) this.#touch(key);
    this.#ahead.clear();
    if (changed.size > 0) this.#declare.changed();
  }

  #learnPorts({ namespace, derivedFor, ports }: KubeService): void {
    if (derivedFor === undefined) return;
    for (const { port, targetPort } of ports)
      if (targetPort !== undefined) this.#ports.learn(`${namespace}/${derivedFor}:${port}`, targetPort);
  }

  async #reconcile(key: string): Promise<boolean> {
    const { leading, client } = this.#options;
    // Ports given out before are learned from the derived Services: without those, others would be given out.
    if (!leading.current || !this.#services.known || !this.#imports.known) return true;
    const view = this.#view(key);
    if (holdsNewer(currentObjects(view), view.revision)) this.#ahead.add(key);
    const changes = planService(view);
    const done = await applyChanges(client, changes, ({ change }) => {
      if (change.kind === "delete" && change.type === SERVICES) this.#ports.forget(key);
    });
    if (done.ok) {
      this.#complaints.delete(key);
      return true;
    }
    const { change, failure } = done.error;
    // The namespace is ending: everything in it goes, and its own event will say so.
    if (failure.kind === "forbidden" && /being terminated/.test(failure.message)) return true;
    this.#complain(key, problemOf(describeChange(change), failure));
    return false;
  }

  #view(key: string): ServiceView {
    const [namespace = "", name = ""] = key.split("/");
    const derived = derivedName({ namespace, name });
    const gateways = this.#index.of(GATEWAY_SERVICE.key).flatMap(({ endpoints }) => endpoints);
    const space = this.#namespaces.items.get(namespace);
    const derivedService = this.#services.items.get(`${namespace}/${derived}`);
    const made = this.#imports.items.get(key);
    const alias = made?.from === undefined ? undefined : this.#clusterset.aliasFacts(key, made.from);
    return {
      namespace,
      name,
      cluster: this.#options.cluster,
      types: { imports: this.#imports.type, exports: this.#exports.type, slices: this.#slices.type },
      open: space !== undefined && !space.deleting,
      ...this.#clusterset.factsOf(key),
      refused: this.#unfit.get(key) ?? this.#clusterset.refusalOf(key),
      import: made,
      ...(alias === undefined ? {} : { alias }),
      derived: derivedService?.derivedFor === undefined ? undefined : derivedService,
      derivedSlices: this.#index
        .of(`${namespace}/${derived}`)
        .filter(({ derivedFor }) => derivedFor !== undefined),
      gateways: [...new Set(gateways.map(endpointAddress))].sort(),
      installation: this.#options.installation,
      listenOf: (port) => this.#ports.of(`${key}:${port}`),
      complete: this.known && this.#options.snapshot.current !== undefined && this.#knowsOwnExport(key, made),
      revision: this.#options.snapshot.current?.revision,
      now: this.#now(),
    };
  }

  /** While the registry has not answered, our own export is neither there nor gone. */
  #knowsOwnExport(key: string, made?: KubeImport): boolean {
    const own = { service: this.#services.items.get(key), export: this.#exports.items.get(key) };
    const source = made?.from === undefined ? undefined : parseAliasSource(made.from);
    if (source !== undefined && !this.#knowsOwnExport(`${source.namespace}/${source.name}`)) return false;
    return !isDeclared(own) || this.#clusterset.hasAccepted(key) || this.#unfit.has(key);
  }

  async #sendDeclaration(): Promise<PushAnswer> {
    const { leading, registry, cluster, snapshot } = this.#options;
    const kinds = [this.#services, this.#exports, this.#imports, this.#namespaces];
    // A declaration is a complete set: from half of the knowledge it would withdraw the other half.
    const others = [this.#policies, this.#foreign, this.#targets];
    const unknown = [...kinds, ...others].some(({ known }) => !known);
    if (!leading.current || snapshot.current === undefined || unknown) return true;
    const mcs = declaredResources({
      cluster,
      services: this.#services.items,
      exports: this.#exports.items,
      imports: this.#imports.items,
      namespaces: this.#namespaces.items,
      offers: snapshot.current.offers ?? [],
      ownTakesPart: (key) => this.#clusterset.ownTakesPart(key),
    });
    const exportsAndImports = mcs.filter((resource) => this.#isGood(resource));
    const resources = [
      ...exportsAndImports,
      ...this.#policies.declared(),
      ...this.#routes.declared(),
      ...this.#targets.declared(),
    ];
    const path = `/v1/clusters/${cluster}/declared`;
    const body = { resources, ...this.#liveGateways() };
    const answer = await registry.request({ method: "PUT", path, body });
    if (!answer.ok) {
      this.#clusterset.refused(`${PROBLEMS[answer.error.name].code}: ${answer.error.detail}`);
      this.#complain("declaration", answer.error);
      const { retryAfterMs } = answer.error;
      return retryAfterMs === undefined ? false : { retryAfterMs };
    }
    const decoded = decode(declareResponse, JSON.parse(answer.value.text));
    if (!decoded.ok) return false;
    this.#complaints.delete("declaration");
    for (const key of this.#clusterset.answered(decoded.value)) {
      this.#touch(key);
      if (!this.#clusterset.ownTakesPart(key)) this.#declare.changed();
    }
    const { results } = decoded.value;
    const now = this.#now();
    const changes = [
      ...this.#policies.statusChanges(results, now),
      ...this.#routes.statusChanges(results, now),
    ];
    const { client } = this.#options;
    const written = await applyChanges(client, changes, () => {});
    // Told once: that it was is less important than everything else here.
    const told = await applyChanges(client, this.#targets.events(results, now), () => {});
    if (!told.ok) this.#complain("events", problemOf(describeChange(told.error.change), told.error.failure));
    if (!written.ok) {
      const { change, failure } = written.error;
      this.#complain("policies", problemOf(describeChange(change), failure));
    }
    return written.ok;
  }

  /** What Kubernetes takes may still be more than the registry takes: such an object must not sink the others. */
  #isGood(resource: AppliedResource): boolean {
    if (resource.kind === "EgressPolicy") return true;
    const key = `${resource.metadata.namespace}/${resource.metadata.name}`;
    const decoded = decodeAppliedResource(resource);
    if (decoded.ok) {
      if (resource.kind === "ServiceExport" && this.#unfit.delete(key)) this.#queue.add(key);
      return true;
    }
    const message = decoded.error
      .map(({ path, message: what }) => `${path} ${what}`)
      .join("; ")
      .slice(0, 500);
    const isNews = this.#unfit.get(key) !== message;
    // Before it is worked on, which begins at once.
    this.#unfit.set(key, message);
    if (isNews) this.#queue.add(key);
    return false;
  }

  /** Names under which this cluster's gateways report; a pod that is gone never comes back under its name. */
  #liveGateways(): { readonly gateways?: readonly string[] } {
    const { known, items } = this.#gatewayPods;
    return known && items.size > 0 ? { gateways: [...items.values()].sort() } : {};
  }

  #now(): string {
    return new Date(this.#options.clock.now()).toISOString().replace(/\.\d+Z$/, "Z");
  }

  #complain(key: string, { name, detail }: Problem): void {
    if (this.#complaints.get(key) === `${name} ${detail}`) return;
    this.#complaints.set(key, `${name} ${detail}`);
    this.#options.log.warn("kube_write_failed", { code: PROBLEMS[name].code, object: key, detail });
  }
}
