import type { SpiffeId } from "../../federation/model/spiffe-id.ts";
import { type Credential, mintCallerToken } from "../../federation/trust/index.ts";
import type { Clock } from "../process/clock.ts";

export interface CallerTokenCache {
  get(workload: SpiffeId, audience: string, credential: () => Credential): string;
  /** Forgets what will not be handed out again. */
  sweep(): void;
  /** What belongs to one workload. */
  forget(workload: SpiffeId): void;
  clear(): void;
}

interface CachedToken {
  readonly token: string;
  readonly freshUntilMs: number;
}

// Long enough to serve many requests, short enough that a stolen one is soon worthless.
const TTL_MS = 5 * 60_000;
const MAX_TOKENS = 50_000;

/** Two levels of maps, because joining the two names to one key would cost a request more than both look-ups. */
export function createCallerTokenCache(clock: Clock, maxTokens = MAX_TOKENS): CallerTokenCache {
  const byWorkload = new Map<string, Map<string, CachedToken>>();
  let size = 0;
  const clear = (): void => {
    byWorkload.clear();
    size = 0;
  };
  const keep = (workload: SpiffeId, audience: string, token: CachedToken): void => {
    // Minting all of them again is cheaper than the bookkeeping of which one is the oldest.
    if (size >= maxTokens) clear();
    const tokens = byWorkload.get(workload.uri) ?? new Map<string, CachedToken>();
    if (!tokens.has(audience)) size++;
    tokens.set(audience, token);
    byWorkload.set(workload.uri, tokens);
  };
  return {
    get(workload, audience, credential) {
      const known = byWorkload.get(workload.uri)?.get(audience);
      if (known !== undefined && clock.now() < known.freshUntilMs) return known.token;
      const minted = mint(credential(), audience, clock.now());
      keep(workload, audience, minted);
      return minted.token;
    },
    sweep() {
      const now = clock.now();
      for (const [uri, tokens] of byWorkload) {
        for (const [audience, { freshUntilMs }] of tokens) {
          if (freshUntilMs <= now && tokens.delete(audience)) size--;
        }
        if (tokens.size === 0) byWorkload.delete(uri);
      }
    },
    forget({ uri }) {
      size -= byWorkload.get(uri)?.size ?? 0;
      byWorkload.delete(uri);
    },
    clear,
  };
}

/** A token ends with the certificate that signed it, and is handed out for two thirds of its life. */
function mint(credential: Credential, audience: string, now: number): CachedToken {
  const lifetimeMs = Math.min(TTL_MS, credential.notAfterMs - now);
  const token = mintCallerToken({ credential, audience, now, lifetimeMs });
  return { token, freshUntilMs: now + (lifetimeMs * 2) / 3 };
}
