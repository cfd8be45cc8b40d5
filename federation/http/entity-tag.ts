/**
 * A snapshot goes out as it is or packed. Those are two representations, so each has its own strong tag (RFC 9110
 * §8.8.3.3), and both are made of the revision alone: comparing tags compiles, signs and packs nothing.
 */

const PACKED = "-gzip";

export function entityTag(revision: number, packed: boolean): string {
  return `"${revision}${packed ? PACKED : ""}"`;
}

/** What a tag of ours says; weak ones too, since a cache that packs on its way weakens them (§13.1.2 compares weakly). */
export interface KnownTag {
  readonly revision: number;
  readonly packed: boolean;
}

/** Tags that a cache of several representations may send at once; more are nobody's. */
const MAX_TAGS = 16;

/** The tags of an If-None-Match that can be ours, in their order. */
export function knownTags(ifNoneMatch: string | undefined): readonly KnownTag[] {
  if (ifNoneMatch === undefined) return [];
  return ifNoneMatch
    .split(",", MAX_TAGS)
    .map((text) => /^\s*(?:W\/)?"([0-9]{1,15})(-gzip)?"\s*$/.exec(text))
    .flatMap((found) =>
      found === null ? [] : [{ revision: Number(found[1]), packed: found[2] !== undefined }],
    );
}

/**
 * The tag to answer 304 with; `undefined`: nothing that the asker holds and may use is current. A packed one is of no
 * use to a cache that asks for somebody who does not unpack.
 */
export function matchingTag(
  known: readonly KnownTag[],
  revision: number | undefined,
  unpacks: boolean,
): string | undefined {
  const usable = known.filter((tag) => tag.revision === revision && (unpacks || !tag.packed));
  const best = usable.find(({ packed }) => packed) ?? usable[0];
  return best === undefined ? undefined : entityTag(best.revision, best.packed);
}

/** RFC 9110 §12.5.3: named with a weight above zero, or left to `*`. */
export function acceptsGzip(acceptEncoding: string | undefined): boolean {
  const weights = new Map<string, number>();
  for (const part of (acceptEncoding ?? "").split(",", 32)) {
    const [coding = "", ...parameters] = part.split(";").map((text) => text.trim().toLowerCase());
    const weight = parameters.find((parameter) => parameter.startsWith("q="))?.slice(2) ?? "1";
    weights.set(coding === "x-gzip" ? "gzip" : coding, Number(weight));
  }
  return (weights.get("gzip") ?? weights.get("*") ?? 0) > 0;
}
