import { type EntryForward, ofEndpoint, ofVersion } from "../routing/decide.ts";

const MAX_VARIANTS = 4_096;

/** Variants of targets (versions, pinned endpoints) that are remembered, so that a request makes none of its own. */
export class TargetVariants {
  readonly #variants = new Map<string, EntryForward>();

  ofVersion(target: EntryForward, version: string): EntryForward {
    return this.#variant(`${target.id} v ${version}`, () => ofVersion(target, version), target);
  }

  ofEndpoint(place: EntryForward, endpoint: string): EntryForward {
    return this.#variant(`${place.id} e ${endpoint}`, () => ofEndpoint(place, endpoint), place);
  }

  #variant(id: string, make: () => EntryForward, base: EntryForward): EntryForward {
    const known = this.#variants.get(id);
    // The permit of a base is as old as the rules it was made by.
    if (known !== undefined && known.permit === base.permit) return known;
    if (this.#variants.size >= MAX_VARIANTS) this.#variants.clear();
    const made = make();
    this.#variants.set(id, made);
    return made;
  }
}
