import { type Load, pickLeastLoaded } from "../balance/pick.ts";

interface EndpointLoad extends Load {
  readonly address: string;
  streams: number;
}

/** The endpoints of the services of one cluster and how many connections each has; replaced lists keep their counts. */
export class EndpointBalancer {
  readonly #random: () => number;
  readonly #byService = new Map<string, readonly EndpointLoad[]>();

  constructor(random: () => number) {
    this.#random = random;
  }

  /** One service port's endpoints, whole: `cart.shop:80`. The work is that of this port, however many there are. */
  set(service: string, addresses: readonly string[]): void {
    if (addresses.length === 0) {
      this.#byService.delete(service);
      return;
    }
    const known = new Map(this.#byService.get(service)?.map((load) => [load.address, load]));
    this.#byService.set(
      service,
      addresses.map((address) => known.get(address) ?? { address, streams: 0 }),
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
