import type { ServiceEndpoint } from "../../../federation/model/service.ts";
import { type Load, pickLeastLoaded } from "../balance/pick.ts";

interface EndpointLoad extends Load {
  readonly address: string;
  streams: number;
}

/** One service port's endpoints: all of them, and those of each version. */
interface EndpointGroups {
  readonly all: readonly EndpointLoad[];
  readonly byVersion: ReadonlyMap<string, readonly EndpointLoad[]>;
}

/** The endpoints of the services of one cluster and how many connections each has; replaced lists keep their counts. */
export class EndpointBalancer {
  readonly #random: () => number;
  readonly #byService = new Map<string, EndpointGroups>();

  constructor(random: () => number) {
    this.#random = random;
  }

  /** One service port's endpoints, whole: `cart.shop:80`. The work is that of this port, however many there are. */
  set(service: string, endpoints: readonly ServiceEndpoint[]): void {
    if (endpoints.length === 0) {
      this.#byService.delete(service);
      return;
    }
    const known = new Map(this.#byService.get(service)?.all.map((load) => [load.address, load]));
    const all: EndpointLoad[] = [];
    const byVersion = new Map<string, EndpointLoad[]>();
    for (const { address, version } of endpoints) {
      const load = known.get(address) ?? { address, streams: 0 };
      all.push(load);
      if (version === undefined) continue;
      const group = byVersion.get(version);
      if (group === undefined) byVersion.set(version, [load]);
      else group.push(load);
    }
    this.#byService.set(service, { all, byVersion });
  }

  /**
   * The less loaded of two, of just that version where one is given; `release` must be called once when its connection
   * ends.
   */
  pick(
    service: string,
    version?: string,
  ): { readonly address: string; readonly release: () => void } | undefined {
    const groups = this.#byService.get(service);
    const candidates = version === undefined ? groups?.all : groups?.byVersion.get(version);
    const picked = pickLeastLoaded(candidates ?? [], this.#random());
    if (picked === undefined) return undefined;
    picked.streams += 1;
    return {
      address: picked.address,
      release: () => {
        picked.streams -= 1;
      },
    };
  }

  has(service: string, address: string): boolean {
    return this.#byService.get(service)?.all.some((load) => load.address === address) ?? false;
  }
}
