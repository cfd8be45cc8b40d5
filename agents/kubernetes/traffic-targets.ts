import type { Problem } from "../../federation/model/problem.ts";
import { API_VERSION, type AppliedResource } from "../../federation/model/resource.ts";
import type { DeclareResponse } from "../../federation/model/wire/api.ts";
import { decodeAppliedResource } from "../../federation/model/wire/resource.ts";
import { createInformer, type Informer, type InformerOptions } from "./api/informer.ts";
import { type KubeObject, objectKey } from "./api/object.ts";
import {
  apiVersionOf,
  EVENTS,
  HTTP_ROUTE_GROUPS,
  PODS,
  TCP_ROUTES,
  TRAFFIC_TARGETS,
} from "./api/resource-type.ts";
import { digestAccount, type PodAccount } from "./digest/pod.ts";
import type { KubeService } from "./digest/service.ts";
import type { ForeignObjects } from "./foreign-objects.ts";
import { registryName } from "./foreign-routes.ts";
import { shortHash } from "./mcs/objects.ts";
import type { Change } from "./mcs/plan.ts";
import type { SliceIndex } from "./slice-index.ts";
import {
  type AccessNote,
  destinationAccount,
  type TargetedService,
  translateTarget,
} from "./translate/smi-access.ts";

export interface TargetFacts {
  readonly objects: ForeignObjects;
  readonly services: ReadonlyMap<string, KubeService>;
  readonly slices: SliceIndex;
}

type Common = Pick<InformerOptions<KubeObject>, "client" | "clock" | "random" | "log">;

interface Translated {
  readonly target: KubeObject;
  readonly resources: readonly AppliedResource[];
  readonly notes: readonly AccessNote[];
}

/**
 * SMI's TrafficTargets as AuthorizationPolicies. They speak of accounts where policies speak of Services, so pods are
 * followed, by their accounts and labels, from the first target on. SMI gives its kinds no status: Events tell of them.
 */
export class TrafficTargets {
  readonly #cluster: string;
  readonly #facts: TargetFacts;
  readonly #pods: Informer<PodAccount>;
  /** What was told last, by target. */
  readonly #told = new Map<string, string>();
  #isFollowing = false;
  #isStopped = false;

  constructor(cluster: string, facts: TargetFacts, common: Common, onChange: () => void) {
    this.#cluster = cluster;
    this.#facts = facts;
    this.#pods = createInformer<PodAccount>({
      ...common,
      types: [PODS],
      digest: digestAccount,
      onChange: (_key, next, previous) => {
        if (JSON.stringify(next) !== JSON.stringify(previous)) onChange();
      },
      onListed: onChange,
    });
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#isFollowing) this.#pods.stop();
  }

  /** Without its pods, a target would seem to be about nothing, and its Services open. */
  get known(): boolean {
    if (this.#targets().length === 0) return true;
    this.#follow();
    return this.#pods.known;
  }

  problems(): readonly Problem[] {
    const { current } = this.#pods.problem;
    return current === undefined ? [] : [current];
  }

  declared(): readonly AppliedResource[] {
    return this.#translated().flatMap(({ resources }) => resources);
  }

  /** An Event for each target of which there is something new to tell. */
  events(results: DeclareResponse["results"], now: string): readonly Change[] {
    const translated = this.#translated();
    const keys = new Set(translated.map(({ target }) => objectKey(target.metadata)));
    for (const key of this.#told.keys()) if (!keys.has(key)) this.#told.delete(key);
    return translated.flatMap((each) => {
      const verdict = verdictOf(each, results);
      const key = objectKey(each.target.metadata);
      const told = `${verdict.reason} ${verdict.message}`;
      if (this.#told.get(key) === told) return [];
      this.#told.set(key, told);
      return [eventFor(each.target, verdict, now)];
    });
  }

  #follow(): void {
    if (this.#isFollowing || this.#isStopped) return;
    this.#isFollowing = true;
    this.#pods.start();
  }

  #targets(): readonly KubeObject[] {
    return this.#facts.objects.of(TRAFFIC_TARGETS);
  }

  #translated(): readonly Translated[] {
    const targets = this.#targets();
    const podsOf = targets.length === 0 ? new Map<string, readonly PodAccount[]>() : this.#podsByNamespace();
    return targets.map((target) => {
      const { namespace = "", name } = target.metadata;
      const account = destinationAccount(target);
      const { objects } = this.#facts;
      const { policies, notes } = translateTarget(target, {
        groups: objects.inNamespace(HTTP_ROUTE_GROUPS, namespace),
        tcpRoutes: objects.inNamespace(TCP_ROUTES, namespace),
        services:
          account === undefined ? [] : this.#servicesOf(namespace, account, podsOf.get(namespace) ?? []),
      });
      const resources = policies.flatMap(({ service, spec }, index) => {
        const own = registryName("TrafficTarget", `${name}-${service}-${index}`);
        const metadata = { cluster: this.#cluster, namespace, name: own };
        const kind = "AuthorizationPolicy";
        const decoded = decodeAppliedResource({ apiVersion: API_VERSION, kind, metadata, spec });
        return decoded.ok ? [decoded.value] : [];
      });
      return { target, resources, notes };
    });
  }

  /** One for all pods that are alike: a Deployment's are. */
  #podsByNamespace(): ReadonlyMap<string, readonly PodAccount[]> {
    const alike = new Map<string, PodAccount>();
    for (const pod of this.#pods.items.values()) alike.set(JSON.stringify(pod), pod);
    const byNamespace = new Map<string, PodAccount[]>();
    for (const pod of alike.values()) {
      const others = byNamespace.get(pod.namespace);
      if (others === undefined) byNamespace.set(pod.namespace, [pod]);
      else others.push(pod);
    }
    return byNamespace;
  }

  #servicesOf(namespace: string, account: string, pods: readonly PodAccount[]): readonly TargetedService[] {
    const found: TargetedService[] = [];
    for (const service of this.#facts.services.values()) {
      const { selector } = service;
      if (service.namespace !== namespace || selector === undefined || service.derivedFor !== undefined)
        continue;
      const accounts = new Set(
        pods.filter(({ labels }) => fits(selector, labels)).map((pod) => pod.serviceAccount),
      );
      if (!accounts.has(account)) continue;
      const ports = service.ports
        .filter(({ protocol }) => protocol === "TCP")
        .map((port) => ({ port: port.port, podPorts: this.#podPorts(service, port) }));
      found.push({ name: service.name, ports, isShared: accounts.size > 1 });
    }
    return found.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** A target port that has a name may be another number in each pod: the slices know. */
  #podPorts(
    { namespace, name }: KubeService,
    { name: portName = "", port, targetPort }: KubeService["ports"][number],
  ): readonly number[] {
    if (targetPort !== undefined) return [targetPort];
    const slices = this.#facts.slices.of(`${namespace}/${name}`);
    const numbers = slices.flatMap(({ ports }) =>
      ports.filter((each) => each.name === portName).map((each) => each.port),
    );
    return numbers.length > 0 ? numbers : [port];
  }
}

type Labels = { readonly [key: string]: string };

function fits(selector: Labels, labels: Labels): boolean {
  const wanted = Object.entries(selector);
  return wanted.length > 0 && wanted.every(([key, value]) => labels[key] === value);
}

interface Verdict {
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly message: string;
}

const MAX_MESSAGE = 1_000;

function verdictOf({ resources, notes }: Translated, results: DeclareResponse["results"]): Verdict {
  const refused = results.find(
    ({ kind, action, metadata }) =>
      kind === "AuthorizationPolicy" &&
      (action === "refused" || action === "shadowed") &&
      resources.some((made) => objectKey(made.metadata) === objectKey(metadata)),
  );
  if (refused !== undefined) {
    const message =
      refused.conditions[0]?.message ?? "an operator's AuthorizationPolicy of that name is in force";
    return { type: "Warning", reason: "Refused", message: message.slice(0, MAX_MESSAGE) };
  }
  const [first] = notes;
  if (first !== undefined) {
    const message = notes.map((note) => note.message).join("; ");
    return { type: "Warning", reason: first.reason, message: message.slice(0, MAX_MESSAGE) };
  }
  const names = [...new Set(resources.flatMap(targetNames))];
  const message = `in force for ${names.length === 1 ? "Service" : "Services"} ${names.join(", ")}`;
  return { type: "Normal", reason: "Accepted", message: message.slice(0, MAX_MESSAGE) };
}

function targetNames(resource: AppliedResource): readonly string[] {
  return resource.kind === "AuthorizationPolicy"
    ? (resource.spec.targetRefs ?? []).map(({ name }) => name)
    : [];
}

const MAX_STEM = 200;

/** One object for each target, which says what holds now. */
function eventFor({ metadata }: KubeObject, { type, reason, message }: Verdict, now: string): Change {
  const { namespace = "", name, uid } = metadata;
  const object = {
    apiVersion: apiVersionOf(EVENTS),
    kind: EVENTS.kind,
    metadata: { namespace, name: `${name.slice(0, MAX_STEM)}.${shortHash(`${name} ${uid ?? ""}`)}` },
    involvedObject: {
      apiVersion: apiVersionOf(TRAFFIC_TARGETS),
      kind: TRAFFIC_TARGETS.kind,
      namespace,
      name,
      ...(uid === undefined ? {} : { uid }),
    },
    type,
    reason,
    message,
    source: { component: "isthmus" },
    firstTimestamp: now,
    lastTimestamp: now,
    count: 1,
  };
  return { kind: "apply", type: EVENTS, object };
}
