import type { Problem } from "../../federation/model/problem.ts";
import type { Result } from "../../federation/model/result.ts";

/** One local address per (workload, service, port). */
export interface AddressKey {
  /** `ns/shop/sa/web` */
  readonly workload: string;
  /** `cart.shop` */
  readonly service: string;
  readonly port: number;
}

export interface AddressBook {
  /** Addresses in the order of `keys`; the same key gets the same address for the life of the state directory. */
  allocate(keys: readonly AddressKey[]): Promise<Result<readonly string[], Problem>>;
}
export declare function openAddressBook(options: { readonly stateDir: string }): AddressBook;
