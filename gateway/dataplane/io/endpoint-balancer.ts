import type { ServiceEndpoint } from "../../../federation/model/service.ts";
import { type Load, pickLeastLoaded } from "../balance/pick.ts";
import { pickByKey } from "../balance/rendezvous.ts";
import { opaqueName } from "../balance/session-token.ts";
import type { Readiness } from "./destination-guard.ts";

interface EndpointLoad extends Load {
  readonly address: string;
  /** An address may move to another pod, elsewhere. */
  node: string | undefined;
  /** What others call it; tells no address. */
  readonly name: string;
  streams: number;
  /** Accepted the last connection, or a probe since. */
  ready: boolean;
}

/** One service port's endpoints: all of them, and those of each version. */
interface EndpointGroups {
  readonly all: readonly EndpointLoad[];
  readonly byVersion: ReadonlyMap<string, readonly EndpointLoad[]>;
}

/** Which endpoint would be best; where none fits, any will do. */
export interface EndpointWish {
  /** Only endpoints of this version. */
  readonly version?: string | undefined;
  /** A name that was given before; `~7` stands for a class of sessions, which all go to the same one. */
  readonly endpoint?: string | undefined;
  /** Names of endpoints that fail, comma-separated. */
  readonly avoid?: string | undefined;
}

export interface PickedEndpoint {
  readonly address: string;
  readonly node: string | undefined;
  readonly name: string;
  /** Once, when its connection ends. */
  readonly release: () => void;
  /** It did not accept a connection. */
  readonly failed: () => void;
}

export interface UnreadyEndpoint {
  readonly service: string;
  readonly address: string;
  readonly node: string | undefined;
}

/** The endpoints of the services of one cluster, how many connections each has and whether it accepts them. */
export class EndpointBalancer {
  readonly #random: () => number;
  readonly #onReadiness: (service: string) => void;
  readonly #byService = new Map<string, EndpointGroups>();
  /** `cart.shop:80 10.0.0.1:8080` of those that did not accept. */
  readonly #unready = new Map<string, { readonly service: string; readonly load: EndpointLoad }>();
  #passedOver: ReadonlySet<string> = new Set();

  /** `onReadiness` hears of every service port whose ready endpoints changed in number. */
  constructor(random: () => number, onReadiness: (service: string) => void = () => {}) {
    this.#random = random;
    this.#onReadiness = onReadiness;
  }

  /** One service port's endpoints, whole: `cart.shop:80`. The work is that of this port, however many there are. */
  set(service: string, endpoints: readonly ServiceEndpoint[]): void {
    const known = new Map(this.#byService.get(service)?.all.map((load) => [load.address, load]));
    const all: EndpointLoad[] = [];
    const byVersion = new Map<string, EndpointLoad[]>();
    for (const { address, version, node } of endpoints) {
      const load = known.get(address) ?? {
        address,
        node,
        name: opaqueName(address),
        streams: 0,
        ready: true,
      };
      load.node = node;
      known.delete(address);
      all.push(load);
      if (version === undefined) continue;
      const group = byVersion.get(version);
      if (group === undefined) byVersion.set(version, [load]);
      else group.push(load);
    }
    for (const address of known.keys()) this.#unready.delete(`${service} ${address}`);
    if (all.length === 0) this.#byService.delete(service);
    else this.#byService.set(service, { all, byVersion });
    this.#onReadiness(service);
  }

  /** The less loaded of two that accept connections; where none does, of all, since what is known may be old. */
  pick(service: string, wish: EndpointWish = {}): PickedEndpoint | undefined {
    const groups = this.#byService.get(service);
    const group = (wish.version === undefined ? groups?.all : groups?.byVersion.get(wish.version)) ?? [];
    const picked = this.#choose(group, wish);
    if (picked === undefined) return undefined;
    picked.streams += 1;
    return {
      address: picked.address,
      node: picked.node,
      name: picked.name,
      release: () => {
        picked.streams -= 1;
      },
      failed: () => this.#judge(service, picked, false),
    };
  }

  /** Whether an endpoint that did not accept does now. */
  probed(service: string, address: string, ready: boolean): void {
    const load = this.#byService.get(service)?.all.find((one) => one.address === address);
    if (load !== undefined) this.#judge(service, load, ready);
  }

  /** Those to probe. */
  unready(): readonly UnreadyEndpoint[] {
    return [...this.#unready.values()].map(({ service, load: { address, node } }) => ({
      service,
      address,
      node,
    }));
  }

  find(service: string, address: string): { readonly node: string | undefined } | undefined {
    return this.#byService.get(service)?.all.find((load) => load.address === address);
  }

  /** Endpoints of these nodes are picked only where there are no others, or somebody asks for just that one. */
  passOver(nodes: ReadonlySet<string>): void {
    this.#passedOver = nodes;
  }

  /** Of all endpoints, or of those of one version. */
  readiness(service: string, version?: string): Readiness {
    const groups = this.#byService.get(service);
    const group = (version === undefined ? groups?.all : groups?.byVersion.get(version)) ?? [];
    let ready = 0;
    for (const load of group) if (load.ready) ready += 1;
    return { ready, total: group.length };
  }

  versions(service: string): readonly string[] {
    return [...(this.#byService.get(service)?.byVersion.keys() ?? [])];
  }

  #choose(group: readonly EndpointLoad[], { endpoint, avoid }: EndpointWish): EndpointLoad | undefined {
    let candidates = this.#unready.size === 0 ? group : orAll(group, ({ ready }) => ready);
    if (avoid !== undefined) {
      const avoided = new Set(avoid.split(","));
      candidates = orAll(candidates, ({ name }) => !avoided.has(name));
    }
    if (endpoint !== undefined) {
      const wished = endpoint.startsWith("~")
        ? pickByKey(candidates, ({ name }) => name, endpoint)
        : candidates.find(({ name }) => name === endpoint);
      if (wished !== undefined) return wished;
    }
    const passedOver = this.#passedOver;
    if (passedOver.size > 0)
      candidates = orAll(candidates, ({ node }) => node === undefined || !passedOver.has(node));
    return pickLeastLoaded(candidates, this.#random());
  }

  #judge(service: string, load: EndpointLoad, ready: boolean): void {
    if (load.ready === ready) return;
    load.ready = ready;
    const key = `${service} ${load.address}`;
    if (ready) this.#unready.delete(key);
    else this.#unready.set(key, { service, load });
    this.#onReadiness(service);
  }
}

function orAll<T>(all: readonly T[], fits: (one: T) => boolean): readonly T[] {
  const fitting = all.filter(fits);
  return fitting.length === 0 ? all : fitting;
}
