/**
 * A snapshot goes out signed whole or by its digest, as it is or packed. Those are four representations, so each has its own
 * strong tag (RFC 9110 §8.8.3.3), made of the revision alone: comparing tags compiles, signs and packs nothing.
 */

export function entityTag({ revision, digest, packed }: KnownTag): string {
  return `"${revision}${digest ? "-digest" : ""}${packed ? "-gzip" : ""}"`;
}

/** What a tag of ours says; weak ones too, since a cache that packs on its way weakens them (§13.1.2 compares weakly). */
export interface KnownTag {
  readonly revision: number;
  /** Whether its digest is signed. */
  readonly digest: boolean;
  readonly packed: boolean;
}

/** Tags that a cache of several representations may send at once; more are nobody's. */
const MAX_TAGS = 16;

/** The tags of an If-None-Match that can be ours, in their order. */
export function knownTags(ifNoneMatch: string | undefined): readonly KnownTag[] {
  if (ifNoneMatch === undefined) return [];
  return ifNoneMatch
    .split(",", MAX_TAGS)
    .map((text) => /^\s*(?:W\/)?"([0-9]{1,15})(-digest)?(-gzip)?"\s*$/.exec(text))
    .flatMap((found) =>
      found === null
        ? []
        : [{ revision: Number(found[1]), digest: found[2] !== undefined, packed: found[3] !== undefined }],
    );
}

/**
 * The tag to answer 304 with; `undefined`: nothing that the asker holds and may use is current. A packed one is of no
 * use to a cache that asks for somebody who does not unpack, nor one of the form that the asker does not read.
 */
export function matchingTag(
  known: readonly KnownTag[],
  revision: number | undefined,
  { unpacks, readsDigest }: Readable,
): string | undefined {
  const usable = known.filter(
    (tag) => tag.revision === revision && (unpacks || !tag.packed) && (readsDigest || !tag.digest),
  );
  const best = usable.find(({ packed }) => packed) ?? usable[0];
  return best === undefined ? undefined : entityTag(best);
}

/** What an asker can do with representations. */
export interface Readable {
  readonly unpacks: boolean;
  readonly readsDigest: boolean;
}

/** A media type that is named; `*` is said by those who never heard of it. */
export function namesMediaType(accept: string | undefined, type: string): boolean {
  return (accept ?? "").split(",", 32).some((part) => part.trim().toLowerCase() === type);
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
