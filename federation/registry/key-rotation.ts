import { ok, type Result } from "../model/result.ts";
import type { KeyRotation } from "../model/wire/api.ts";
import type { Authority } from "./authority.ts";
import type { Refusal } from "./change.ts";
import { type Clock, timestamp } from "./clock.ts";
import type { Ledger } from "./ledger.ts";
import { refuse } from "./plan/refuse.ts";
import {
  acceptedKeys,
  activeKey,
  advance,
  announce,
  foundingRing,
  type Keys,
  replace,
  RING_TIMES,
  type SigningRing,
  wantsNewKey,
} from "./signing-ring.ts";
import type { FederationState } from "./state.ts";

type Answer<A> = Promise<Result<A, Refusal>>;

/** Two instances whose clocks struck at once: the one that lost looks again. */
const MAX_ATTEMPTS = 5;

/** Moves the signing keys through their lives: makes and drops them, has the root vouch for the set, and writes it down. */
export class KeyRotator {
  readonly #ledger: Ledger;
  readonly #authority: Authority;
  readonly #clock: Clock;

  constructor(ledger: Ledger, authority: Authority, clock: Clock) {
    this.#ledger = ledger;
    this.#authority = authority;
    this.#clock = clock;
  }

  /** An operator wants another key: announced now, or in force at once where the old one may be in other hands. */
  async rotate(
    actor: string,
    { compromised, dryRun }: { readonly compromised: boolean; readonly dryRun: boolean },
  ): Answer<KeyRotation> {
    const ring = this.#ring;
    if (!compromised && ring.keys.some(({ phase }) => phase === "announced"))
      return refuse("request_invalid", "a new key is announced already, and will sign when it is time");
    if (dryRun) return ok(this.#describe(ring, true));
    const key = await this.#authority.makeSigningKey();
    const now = this.#clock.now();
    const next = compromised ? replace(ring, key, now) : announce(ring, key, now);
    const action = compromised ? "signing-key.replace" : "signing-key.announce";
    const written = await this.#write(actor, ring, next, action);
    if (!written.ok) {
      await this.#authority.dropSigningKey(key.kid);
      return written;
    }
    return ok(this.#describe(this.#ring, false));
  }

  /** What is due by time alone; called now and then, by any instance. `makesKeys`: also a new one, when it is time. */
  async advance(actor: string, makesKeys: boolean): Answer<void> {
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      const ring = this.#ring;
      const now = this.#clock.now();
      const next = advance(ring, now);
      if (next === ring) break;
      const signs = activeKey(next)?.key.kid !== activeKey(ring)?.key.kid;
      const written = await this.#write(
        actor,
        ring,
        next,
        signs ? "signing-key.activate" : "signing-key.retire",
      );
      if (!written.ok && written.error.problem.name !== "version_conflict") return written;
    }
    if (!makesKeys || !wantsNewKey(this.#ring, this.#clock.now())) return ok(undefined);
    const announced = await this.rotate(actor, { compromised: false, dryRun: false });
    return announced.ok ? ok(undefined) : announced;
  }

  /** How long the key that signs has been the one. */
  ageMs(): number {
    const now = this.#clock.now();
    return now - (activeKey(this.#ring)?.sinceMs ?? now);
  }

  get #ring(): Keys {
    const { signing, clusters } = this.#ledger.state;
    if (signing !== undefined) return signing;
    // The first key is as old as the federation: its first cluster tells, where there is one.
    const dates = [...clusters.values()].map(({ record }) => Date.parse(record.registeredAt));
    return foundingRing(this.#authority.foundingKey, Math.min(this.#clock.now(), ...dates));
  }

  async #write(actor: string, ring: Keys, next: Keys, action: string): Answer<void> {
    const before = this.#ledger.state.signing;
    const sequence = Math.max((before?.sequence ?? 0) + 1, this.#clock.now());
    const document = await this.#authority.signKeySet({ sequence, keys: acceptedKeys(next) });
    const value: SigningRing = { ...next, sequence, document };
    const [was, will] = [activeKey(ring)?.key.kid, activeKey(next)?.key.kid];
    const written = await this.#ledger.execute<void>({ actor }, (state: FederationState) => {
      if (state.signing !== before)
        return refuse("version_conflict", "another registry changed the signing keys at the same time");
      return ok({
        draft: {
          puts: [{ kind: "SigningKeys", value }],
          deletes: [],
          // Every snapshot is signed anew, so that none that is kept anywhere needs the old key for long.
          ...(was === will ? {} : { allSnapshots: true }),
          audit: { action, targets: [`SigningKey/${will ?? ""}`] },
        },
        answer: () => {},
      });
    });
    if (written.ok && was !== undefined && was !== will) await this.#authority.dropSigningKey(was);
    return written;
  }

  #describe(ring: Keys, dryRun: boolean): KeyRotation {
    const keys = ring.keys.map(({ key: { kid }, phase, sinceMs }) => ({
      kid,
      phase,
      since: timestamp(sinceMs),
    }));
    const announced = ring.keys.find(({ phase }) => phase === "announced");
    const base = { dryRun, revision: this.#ledger.state.revision, keys };
    return announced === undefined
      ? base
      : { ...base, signsFrom: timestamp(announced.sinceMs + RING_TIMES.announceMs) };
  }
}
