import type { Logger } from "../../federation/model/log.ts";
import { PROBLEMS } from "../../federation/model/problem.ts";
import type { SpiffeId } from "../../federation/model/spiffe-id.ts";
import type { TrustBundle } from "../../federation/model/trust-bundle.ts";
import {
  type ClusterCa,
  type Credential,
  indexBundles,
  issueSvid,
  shouldRotate,
  verifyChain,
} from "../../federation/trust/index.ts";
import { createWatch, type PublishableWatch, type Watch } from "../dataplane/lifecycle/watch.ts";
import type { Clock, Random, Timer } from "../process/clock.ts";
import { type CallerTokenCache, createCallerTokenCache } from "./caller-token-cache.ts";

export interface CredentialSource {
  /** This process's own SVID with its key; replaced whole at about half of its life. */
  readonly credential: Watch<Credential>;
  /** Whether it can speak for this workload now. */
  has(id: SpiffeId): boolean;
  /** The workloads that it should be able to speak for, where it has to ask for each. */
  want(ids: readonly SpiffeId[]): void;
  /** A caller token signed by the workload's own key, cached per workload and audience; `undefined`: no identity. */
  callerToken(workload: SpiffeId, audience: string): string | undefined;
  /** Absent where nobody has to be asked. */
  identity?(): IdentityStatus;
  stop(): void;
}

/** How a process stands that is given its identities by another one. */
export interface IdentityStatus {
  readonly issuer: "answers" | "fails";
  /** Identities that can be used now. */
  readonly held: number;
  /** SPIFFE IDs wanted and not there. */
  readonly missing: readonly string[];
  /** Of the process's own SVID. */
  readonly notAfter: string;
  readonly code?: string;
  readonly detail?: string;
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
// As many workloads as a node or a static cluster can have, and then some.
const MAX_CREDENTIALS = 10_000;
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

/** For a process that holds the cluster's CA. */
export function createCredentialSource(options: CredentialSourceOptions): MintingSource {
  return new RotatingSource(options);
}

export interface MintingSource extends CredentialSource {
  /** A credential of any identity of this cluster's trust domain, minted on demand and cached. */
  credentialFor(id: SpiffeId): Credential;
  callerToken(workload: SpiffeId, audience: string): string;
}

class RotatingSource implements MintingSource {
  readonly credential: PublishableWatch<Credential>;
  readonly #options: CredentialSourceOptions;
  readonly #ttlMs: number;
  readonly #workloads = new Map<string, Minted>();
  readonly #tokens: CallerTokenCache;
  readonly #accepted: (credential: Credential) => boolean;
  readonly #unsubscribe: () => void;
  #own: Minted;
  #timer: Timer | undefined;

  constructor(options: CredentialSourceOptions) {
    this.#options = options;
    this.#ttlMs = options.svidTtlMs ?? SVID_TTL_MS;
    this.#tokens = createCallerTokenCache(options.clock);
    this.#accepted = createJudge(options);
    this.#own = this.#mint(options.self);
    this.#accepted(this.#own.credential);
    this.credential = createWatch(this.#own.credential);
    this.#unsubscribe = options.state.subscribe((next, previous) => {
      if (next.ca.certificatePem !== previous.ca.certificatePem) this.#moveToNewCa();
    });
    this.#scheduleCheck();
  }

  credentialFor(id: SpiffeId): Credential {
    if (id.uri === this.#options.self.uri) return this.#own.credential;
    const cached = this.#workloads.get(id.uri);
    if (cached !== undefined && !isDue(cached, this.#options.clock.now())) return cached.credential;
    const minted = this.#mint(id);
    put(this.#workloads, MAX_CREDENTIALS, id.uri, minted);
    return minted.credential;
  }

  callerToken(workload: SpiffeId, audience: string): string {
    return this.#tokens.get(workload, audience, () => this.credentialFor(workload));
  }

  has(): boolean {
    return true;
  }

  /** Anything of its trust domain can be had at once. */
  want(): void {}

  stop(): void {
    this.#timer?.cancel();
    this.#unsubscribe();
  }

  #mint(id: SpiffeId): Minted {
    const { state, clock, random } = this.#options;
    const now = clock.now();
    const credential = issueSvid({ ca: state.current.ca, spiffeId: id, now, lifetimeMs: this.#ttlMs });
    return { credential, mintedAtMs: now, jitter: random() };
  }

  #rotateOwn(): void {
    const next = this.#mint(this.#options.self);
    // Others would refuse it: the old one is worth more as long as it lives.
    const keepOld =
      !this.#accepted(next.credential) && this.#own.credential.notAfterMs > this.#options.clock.now();
    if (keepOld) return;
    this.#own = next;
    this.credential.publish(next.credential);
  }

  /** Chains with the old CA stay valid for its life, but a CA is renewed because that ends. */
  #moveToNewCa(): void {
    this.#workloads.clear();
    this.#tokens.clear();
    this.#rotateOwn();
  }

  #scheduleCheck(): void {
    const everyMs = Math.min(MAX_CHECK_MS, Math.max(MIN_CHECK_MS, this.#ttlMs / CHECKS_PER_LIFE));
    this.#timer = this.#options.clock.after(everyMs, () => this.#check());
  }

  #check(): void {
    const now = this.#options.clock.now();
    if (isDue(this.#own, now)) this.#rotateOwn();
    for (const [uri, { credential }] of this.#workloads) {
      if (credential.notAfterMs <= now) this.#workloads.delete(uri);
    }
    this.#tokens.sweep();
    this.#scheduleCheck();
  }
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

/** The oldest entry makes room. */
function put<V>(map: Map<string, V>, limit: number, key: string, value: V): void {
  map.delete(key);
  const [oldest] = map.keys();
  if (map.size >= limit && oldest !== undefined) map.delete(oldest);
  map.set(key, value);
}
