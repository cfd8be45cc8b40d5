import { type Problem, problem } from "../../../federation/model/problem.ts";
import { err, ok, type Result } from "../../../federation/model/result.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import { verifyCallerToken } from "../../../federation/trust/index.ts";
import type { PeerTrust } from "./peer-trust.ts";

// One token serves a caller and destination for minutes, over many streams: 4,096 pairs cost about 8 MB at most.
const MAX_CACHED = 4_096;

/** Verifies caller tokens, remembering those that verified: two signature checks cost 0.2 ms, a look-up none. */
export class CallerVerifier {
  readonly #maxCached: number;
  #trust: PeerTrust | undefined;
  readonly #verified = new Map<string, { readonly caller: SpiffeId; readonly expiresAtMs: number }>();

  constructor(maxCached: number = MAX_CACHED) {
    this.#maxCached = maxCached;
  }

  /** `token` is the value of `isthmus-caller`; `audience` the service it must have been made for. */
  verify(
    token: string | undefined,
    audience: string,
    trust: PeerTrust,
    now: number,
  ): Result<SpiffeId, Problem> {
    if (token === undefined || token === "")
      return err(problem("caller_token_missing", "no isthmus-caller header"));
    if (trust !== this.#trust) {
      this.#trust = trust;
      this.#verified.clear();
    }
    const key = `${audience} ${token}`;
    const known = this.#verified.get(key);
    if (known !== undefined && now < known.expiresAtMs) return ok(known.caller);
    const verified = verifyCallerToken(token, { bundles: trust.bundles, audience, now });
    if (!verified.ok) return verified;
    const { caller } = verified.value;
    if (trust.denied.has(caller.trustDomain))
      return err(problem("peer_denied", `${caller.trustDomain} was revoked`));
    if (this.#verified.size >= this.#maxCached) this.#verified.clear();
    this.#verified.set(key, verified.value);
    return ok(caller);
  }
}
