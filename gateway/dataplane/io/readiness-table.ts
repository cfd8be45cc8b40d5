import type { EntryForward } from "../routing/decide.ts";
import type { Readiness } from "./destination-guard.ts";

/** What peers said of their services: by who said it, so that it ends with its link. */
export class ReadinessTable {
  readonly #bySource = new Map<string, ReadonlyMap<string, Readiness>>();
  readonly #onChange: () => void;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  /** All that one peer knows, by `readinessKey`; `undefined`: it is gone, and what it said with it. */
  replace(source: string, services: ReadonlyMap<string, Readiness> | undefined): void {
    if (services === undefined) this.#bySource.delete(source);
    else this.#bySource.set(source, services);
    this.#onChange();
  }

  /** The best that any of them says: a gateway that has not heard yet must not take a service away. */
  get(key: string): Readiness | undefined {
    let best: Readiness | undefined;
    for (const services of this.#bySource.values()) {
      const said = services.get(key);
      if (said !== undefined && (best === undefined || said.ready * best.total > best.ready * said.total))
        best = said;
    }
    return best;
  }

  keys(): readonly string[] {
    return [...new Set([...this.#bySource.values()].flatMap((services) => [...services.keys()]))];
  }
}

/** What is known of one version of a service port has a key of its own. */
export function versionKey(key: string, version: string): string {
  return `${key} v ${version}`;
}

/** `east.acme.mesh cart.shop.svc.clusterset.local:80`: one port of a service of one trust domain. */
export function readinessKey({
  destination,
  authority,
}: Pick<EntryForward, "destination" | "authority">): string {
  return `${destination} ${authority}`;
}
