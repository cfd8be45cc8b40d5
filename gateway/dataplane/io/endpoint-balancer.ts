import { type Load, pickLeastLoaded } from "../balance/pick.ts";

interface EndpointLoad extends Load {
  readonly address: string;
  streams: number;
}

/** The endpoints of the services of one cluster and how many connections each has; replaced lists keep their counts. */
export class EndpointBalancer {
  readonly #random: () => number;
  #byService = new Map<string, readonly EndpointLoad[]>();

  constructor(random: () => number) {
    this.#random = random;
  }

  /** `endpoints` by `cart.shop:80`. */
  replace(endpoints: ReadonlyMap<string, readonly string[]>): void {
    const known = new Map([...this.#byService.values()].flat().map((load) => [load.address, load]));
    this.#byService = new Map(
      [...endpoints].map(([service, addresses]) => [
        service,
        addresses.map((address) => known.get(address) ?? { address, streams: 0 }),
      ]),
    );
  }

  /** The less loaded of two; `release` must be called once when its connection ends. */
  pick(service: string): { readonly address: string; readonly release: () => void } | undefined {
    const picked = pickLeastLoaded(this.#byService.get(service) ?? [], this.#random());
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
    return this.#byService.get(service)?.some((load) => load.address === address) ?? false;
  }
}
