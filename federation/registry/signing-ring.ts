/**
 * The registry's signing keys through their lives, as a value that changes with the federation: announced (members know
 * it, it signs nothing), active, retired (it signs nothing more, members still accept it), past (only operators' tokens
 * are still verified with it, since those live for up to a year), gone. Pure: who makes keys and signs is elsewhere.
 */

export interface PublicSigningKey {
  readonly kty: "OKP";
  readonly crv: "Ed25519";
  readonly x: string;
  /** RFC 7638 thumbprint. */
  readonly kid: string;
  readonly use: "sig";
  readonly alg: "Ed25519";
}

export type KeyPhase = "announced" | "active" | "retired" | "past";

export interface RingKey {
  readonly key: PublicSigningKey;
  readonly phase: KeyPhase;
  /** Milliseconds since the epoch. */
  readonly sinceMs: number;
}

export interface SigningRing {
  /** Of the set that members hold: they take none with a lower one. Grows with every change of it, also over a restore. */
  readonly sequence: number;
  readonly keys: readonly RingKey[];
  /** What members take, signed with the federation's root. */
  readonly document: string;
}

export interface RingTimes {
  /** From telling members of a key to signing with it: long against any poll. */
  readonly announceMs: number;
  /** For which members accept the key before: longer than anybody is away without noticing. */
  readonly overlapMs: number;
  /** As long as an operator's token may live. */
  readonly pastMs: number;
  /** How old a key gets by itself. */
  readonly lifeMs: number;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export const RING_TIMES: RingTimes = {
  announceMs: HOUR_MS,
  overlapMs: 7 * DAY_MS,
  pastMs: 366 * DAY_MS,
  lifeMs: 90 * DAY_MS,
};

export type Keys = Pick<SigningRing, "keys">;

/** Before anything was rotated: the key that the federation was founded with. */
export function foundingRing(key: PublicSigningKey, sinceMs: number): Keys {
  return { keys: [{ key, phase: "active", sinceMs }] };
}

export function activeKey({ keys }: Keys): RingKey | undefined {
  return keys.find(({ phase }) => phase === "active");
}

/** Those that members accept. */
export function acceptedKeys({ keys }: Keys): readonly PublicSigningKey[] {
  return keys.filter(({ phase }) => phase !== "past").map(({ key }) => key);
}

/** Those that tokens are verified with: what is announced signs nothing yet. */
export function verifyingKeys({ keys }: Keys): readonly PublicSigningKey[] {
  return keys.filter(({ phase }) => phase !== "announced").map(({ key }) => key);
}

/** Whether a key is due by its age; not while another change is under way. */
export function wantsNewKey(ring: Keys, now: number, times: RingTimes = RING_TIMES): boolean {
  const active = activeKey(ring);
  const settled = ring.keys.every(({ phase }) => phase === "active" || phase === "past");
  return settled && active !== undefined && now - active.sinceMs >= times.lifeMs;
}

export function announce({ keys }: Keys, key: PublicSigningKey, now: number): Keys {
  return { keys: [...keys, { key, phase: "announced", sinceMs: now }] };
}

/** The key before is worth nothing from now on: for when somebody else may have it. */
export function replace(_ring: Keys, key: PublicSigningKey, now: number): Keys {
  return { keys: [{ key, phase: "active", sinceMs: now }] };
}

/** What time alone changes; the same value where that is nothing. */
export function advance(ring: Keys, now: number, times: RingTimes = RING_TIMES): Keys {
  const activates = ring.keys.some(
    ({ phase, sinceMs }) => phase === "announced" && now - sinceMs >= times.announceMs,
  );
  const next = ring.keys.flatMap((one): readonly RingKey[] => {
    const age = now - one.sinceMs;
    switch (one.phase) {
      case "announced": // => active
        return [activates ? { ...one, phase: "active", sinceMs: now } : one];
      case "active": // => retired
        return [activates ? { ...one, phase: "retired", sinceMs: now } : one];
      case "retired": // => past
        return [age >= times.overlapMs ? { ...one, phase: "past", sinceMs: now } : one];
      case "past": // => gone
        return age >= times.pastMs ? [] : [one];
    }
  });
  const changed = next.length !== ring.keys.length || next.some((one, index) => one !== ring.keys[index]);
  return changed ? { keys: next } : ring;
}
