import type { Logger } from "../../federation/model/log.ts";
import { PROBLEMS } from "../../federation/model/problem.ts";
import type { SpiffeId } from "../../federation/model/spiffe-id.ts";
import type { TrustBundle } from "../../federation/model/trust-bundle.ts";
import {
  type ClusterCa,
  type Credential,
  indexBundles,
  issueSvid,
  mintCallerToken,
  shouldRotate,
  verifyChain,
} from "../../federation/trust/index.ts";
import { createWatch, type Watch } from "../dataplane/lifecycle/watch.ts";
import type { Clock, Random, Timer } from "../process/clock.ts";

export interface CredentialSource {
  /** This process's own SVID with its key; replaced whole at about half of its life. */
  readonly credential: Watch<Credential>;
  /** A credential of any identity of this cluster's trust domain, minted on demand and cached. */
  credentialFor(id: SpiffeId): Credential;
  /** A caller token signed by the workload's own key; cached per workload and audience. */
  callerToken(workload: SpiffeId, audience: string): string;
  stop(): void;
}

export interface CredentialSourceOptions {
  /** This process's own identity. */
  readonly self: SpiffeId;
  readonly state: Watch<{ readonly ca: ClusterCa }>;
  /** As peers hold them. */
  readonly bundles: () => readonly TrustBundle[];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly svidTtlMs?: number;
}

/** An hour: short enough that expiry limits a theft, long enough that minting costs nothing. */
export const SVID_TTL_MS = 3_600_000;
const CALLER_TOKEN_TTL_MS = 5 * 60_000;
// As many workloads as a node or a static cluster can have, and then some.
const MAX_CREDENTIALS = 10_000;
const MAX_TOKENS = 50_000;
// The loop asks this often in a life, so that rotation is late by a twentieth of it at most.
const CHECKS_PER_LIFE = 20;
const MIN_CHECK_MS = 50;
const MAX_CHECK_MS = 30_000;

interface Minted {
  readonly credential: Credential;
  /** From here on, not from the certificate's backdated beginning, its life is counted. */
  readonly mintedAtMs: number;
  readonly jitter: number;
}

interface CachedToken {
  readonly token: string;
  readonly freshUntilMs: number;
}

export function createCredentialSource(options: CredentialSourceOptions): CredentialSource {
  const { clock, random, self, state } = options;
  const ttlMs = options.svidTtlMs ?? SVID_TTL_MS;
  const workloads = new Map<string, Minted>();
  const tokens = createTokenCache(clock);
  const mint = (id: SpiffeId): Minted => {
    const now = clock.now();
    const credential = issueSvid({ ca: state.current.ca, spiffeId: id, now, lifetimeMs: ttlMs });
    return { credential, mintedAtMs: now, jitter: random() };
  };
  let own = mint(self);
  const credential = createWatch(own.credential);
  const judge = createJudge(options);
  judge(own.credential);

  const rotateOwn = (): void => {
    const next = mint(self);
    // Others would refuse it: the old one is worth more as long as it lives.
    if (!judge(next.credential) && own.credential.notAfterMs > clock.now()) return;
    own = next;
    credential.publish(own.credential);
  };
  const credentialFor = (id: SpiffeId): Credential => {
    if (id.uri === self.uri) return own.credential;
    const cached = workloads.get(id.uri);
    if (cached !== undefined && !isDue(cached, clock.now())) return cached.credential;
    const minted = mint(id);
    put(workloads, MAX_CREDENTIALS, id.uri, minted);
    return minted.credential;
  };
  let timer: Timer | undefined;
  const checkEveryMs = Math.min(MAX_CHECK_MS, Math.max(MIN_CHECK_MS, ttlMs / CHECKS_PER_LIFE));
  const check = (): void => {
    const now = clock.now();
    if (isDue(own, now)) rotateOwn();
    for (const [uri, { credential: unused }] of workloads)
      if (unused.notAfterMs <= now) workloads.delete(uri);
    tokens.sweep();
    timer = clock.after(checkEveryMs, check);
  };
  timer = clock.after(checkEveryMs, check);
  const unsubscribe = state.subscribe((next, previous) => {
    if (next.ca.certificatePem === previous.ca.certificatePem) return;
    // Chains with the old CA stay valid for its life, but a CA is renewed because that ends.
    workloads.clear();
    tokens.clear();
    rotateOwn();
  });
  return {
    credential,
    credentialFor,
    callerToken: (workload, audience) => tokens.get(workload, audience, credentialFor),
    stop() {
      timer?.cancel();
      unsubscribe();
    },
  };
}

function isDue({ credential, mintedAtMs, jitter }: Minted, now: number): boolean {
  return shouldRotate({ notBeforeMs: mintedAtMs, notAfterMs: credential.notAfterMs }, now, jitter);
}

/** Whether a peer would accept the credential; a no is logged when its reason is new. */
function createJudge({
  bundles,
  clock,
  log,
  self,
}: CredentialSourceOptions): (credential: Credential) => boolean {
  let complaint = "";
  return ({ chainDer }) => {
    const verdict = verifyChain(chainDer, indexBundles(bundles()), clock.now());
    if (!verdict.ok && complaint !== verdict.error.name) {
      const { name, detail } = verdict.error;
      log.error("own_credential_unusable", { code: PROBLEMS[name].code, spiffeId: self.uri, detail });
    }
    complaint = verdict.ok ? "" : verdict.error.name;
    return verdict.ok;
  };
}

type TokenCache = {
  get(workload: SpiffeId, audience: string, credentialFor: (id: SpiffeId) => Credential): string;
  sweep(): void;
  clear(): void;
};

/** Two levels of maps, because joining the two names to one key would cost more than both look-ups. */
function createTokenCache(clock: Clock): TokenCache {
  const byWorkload = new Map<string, Map<string, CachedToken>>();
  let size = 0;
  const clear = (): void => {
    byWorkload.clear();
    size = 0;
  };
  const mint = (workload: SpiffeId, audience: string, credential: Credential): CachedToken => {
    const now = clock.now();
    // A token ends with the certificate that signed it.
    const lifetimeMs = Math.min(CALLER_TOKEN_TTL_MS, credential.notAfterMs - now);
    const token = mintCallerToken({ credential, audience, now, lifetimeMs });
    return { token, freshUntilMs: now + (lifetimeMs * 2) / 3 };
  };
  return {
    get(workload, audience, credentialFor) {
      const known = byWorkload.get(workload.uri)?.get(audience);
      if (known !== undefined && clock.now() < known.freshUntilMs) return known.token;
      // Minting all of them again is cheaper than the bookkeeping of which one is the oldest.
      if (size >= MAX_TOKENS) clear();
      const minted = mint(workload, audience, credentialFor(workload));
      const tokens = byWorkload.get(workload.uri) ?? new Map<string, CachedToken>();
      if (!tokens.has(audience)) size++;
      tokens.set(audience, minted);
      byWorkload.set(workload.uri, tokens);
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
    clear,
  };
}

/** The oldest entry makes room. */
function put<V>(map: Map<string, V>, limit: number, key: string, value: V): void {
  map.delete(key);
  const [oldest] = map.keys();
  if (map.size >= limit && oldest !== undefined) map.delete(oldest);
  map.set(key, value);
}
