import type { KeyObject } from "node:crypto";
import type { Logger } from "../../federation/model/log.ts";
import { type Problem, PROBLEMS } from "../../federation/model/problem.ts";
import type { Result } from "../../federation/model/result.ts";
import type { SpiffeId } from "../../federation/model/spiffe-id.ts";
import type { TrustBundle } from "../../federation/model/trust-bundle.ts";
import {
  acceptSvid,
  createClusterKey,
  createSvidCsr,
  type Credential,
  indexBundles,
  rotationDueMs,
} from "../../federation/trust/index.ts";
import { type Backoff, backoffMs } from "../dataplane/lifecycle/backoff.ts";
import { createWatch, type PublishableWatch, type Watch } from "../dataplane/lifecycle/watch.ts";
import type { Clock, Random, Timer } from "../process/clock.ts";
import { type CallerTokenCache, createCallerTokenCache } from "./caller-token-cache.ts";
import type { CredentialSource, IdentityStatus } from "./credential-source.ts";

/** Who gives identities to processes that may not make them. Declared here, by who asks. */
export interface IdentityIssuer {
  /** `csrPem` asks for `spiffeId`. Answers the chain as PEM, leaf first, or why not. */
  issue(request: { readonly csrPem: string; readonly spiffeId: SpiffeId }): Promise<Result<string, Problem>>;
}

export interface IssuedCredentialsOptions {
  readonly self: SpiffeId;
  readonly issuer: IdentityIssuer;
  /** By which an answer is judged. */
  readonly bundles: () => readonly TrustBundle[];
  readonly state: Watch<{ readonly ca: { readonly certificatePem: string } }>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Identities are also asked for when somebody first needs one, and let go when nobody does. */
  readonly onDemand?: boolean;
  /** Why there is no identity yet, whenever that is news. */
  readonly onWaiting?: (reason: Problem) => void;
}

// A pod's first call waits for its account's identity: so the first attempts come quickly.
const RETRY: Backoff = { baseMs: 100, capMs: 30_000 };
/** Requests under way at once: a node that was restarted asks for all of its accounts. */
const MAX_ASKING = 4;
/** Of a gateway, whose callers wait for their first identity. */
const MAX_ASKING_ON_DEMAND = 16;
// More accounts than any node runs pods.
const MAX_WANTED = 10_000;
/** Who called once and got nothing is not asked for any longer. */
const DEMAND_MS = 60_000;
// Our own CA dates certificates back by this, other CAs may not: peers whose clocks are behind would refuse a newer one.
const SETTLE_MS = 60_000;

interface Slot {
  readonly id: SpiffeId;
  readonly jitter: number;
  /** Nobody said that it is wanted, but for its use. */
  readonly demanded: boolean;
  usedAtMs: number;
  /** Since it was issued. */
  used: boolean;
  dueMs: number;
  failures: number;
  asking: boolean;
  credential: Credential | undefined;
  /** Issued, and not yet old enough to replace one in use. */
  settling: Credential | undefined;
  problem: Problem | undefined;
}

/** Resolves once the process's own identity is there; until then it asks, with back-off, for as long as it takes. */
export async function openIssuedCredentials(options: IssuedCredentialsOptions): Promise<CredentialSource> {
  const { clock, random, onWaiting } = options;
  let told = "";
  for (let failures = 0; ; ) {
    const own = await ask(options, options.self);
    if (own.ok) return new IssuedCredentials(options, own.value);
    failures += 1;
    const { name, detail } = own.error;
    if (told !== `${name} ${detail}`)
      options.log.warn("identity_awaited", { code: PROBLEMS[name].code, detail });
    told = `${name} ${detail}`;
    onWaiting?.(own.error);
    await new Promise((resolve) =>
      clock.after(backoffMs(failures, random(), RETRY), () => resolve(undefined)),
    );
  }
}

/**
 * Identities that somebody else issues, one for each account whose pods run here or, on demand, call here. Keys are made here and kept in memory
 * only. Each is asked for again at about half of its life; if nobody answers, the one in use stays until its end.
 */
class IssuedCredentials implements CredentialSource {
  readonly credential: PublishableWatch<Credential>;
  readonly #options: IssuedCredentialsOptions;
  readonly #own: Slot;
  /** By SPIFFE ID: our own, and those of the accounts on this node. */
  readonly #slots = new Map<string, Slot>();
  readonly #tokens: CallerTokenCache;
  readonly #unsubscribe: () => void;
  #asking = 0;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: IssuedCredentialsOptions, own: Credential) {
    this.#options = options;
    this.#tokens = createCallerTokenCache(options.clock);
    this.credential = createWatch(own);
    this.#own = this.#slot(options.self, false);
    this.#slots.set(options.self.uri, this.#own);
    this.#keep(this.#own, own);
    this.#unsubscribe = options.state.subscribe((next, previous) => {
      if (next.ca.certificatePem !== previous.ca.certificatePem) this.#renewAll();
    });
    this.#pump();
  }

  has(id: SpiffeId): boolean {
    if (this.#options.onDemand === true) this.#use(id);
    return this.#valid(id) !== undefined;
  }

  callerToken(workload: SpiffeId, audience: string): string | undefined {
    if (this.#options.onDemand === true) this.#use(workload);
    const credential = this.#valid(workload);
    return credential && this.#tokens.get(workload, audience, () => credential);
  }

  want(ids: readonly SpiffeId[]): void {
    const wanted = new Map(ids.slice(0, MAX_WANTED).map((id) => [id.uri, id]));
    for (const [uri, slot] of this.#slots) {
      if (!wanted.has(uri) && slot !== this.#own) this.#forget(slot);
    }
    for (const [uri, id] of wanted) if (!this.#slots.has(uri)) this.#slots.set(uri, this.#slot(id, false));
    this.#pump();
  }

  identity(): IdentityStatus {
    const slots = [...this.#slots.values()];
    const failing = slots.find(({ problem: reason }) => reason !== undefined);
    const now = this.#options.clock.now();
    const missing = slots.filter(
      ({ credential }) => credential === undefined || credential.notAfterMs <= now,
    );
    return {
      issuer: failing === undefined ? "answers" : "fails",
      held: slots.length - missing.length,
      missing: missing.map(({ id }) => id.uri).sort(),
      notAfter: new Date(this.credential.current.notAfterMs).toISOString(),
      ...(failing?.problem === undefined
        ? {}
        : { code: PROBLEMS[failing.problem.name].code, detail: failing.problem.detail }),
    };
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#unsubscribe();
  }

  #valid(id: SpiffeId): Credential | undefined {
    const credential = this.#slots.get(id.uri)?.credential;
    return credential !== undefined && credential.notAfterMs > this.#options.clock.now()
      ? credential
      : undefined;
  }

  #use(id: SpiffeId): void {
    const known = this.#slots.get(id.uri);
    if (known !== undefined) {
      known.usedAtMs = this.#options.clock.now();
      known.used = true;
      return;
    }
    if (this.#slots.size > MAX_WANTED) return;
    this.#slots.set(id.uri, this.#slot(id, true));
    this.#pump();
  }

  #isUnused({ demanded, credential, usedAtMs, used }: Slot, now: number): boolean {
    if (!demanded) return false;
    return credential === undefined ? now - usedAtMs > DEMAND_MS : !used;
  }

  #forget(slot: Slot): void {
    this.#slots.delete(slot.id.uri);
    this.#tokens.forget(slot.id);
  }

  #slot(id: SpiffeId, demanded: boolean): Slot {
    const now = this.#options.clock.now();
    return {
      id,
      jitter: this.#options.random(),
      demanded,
      usedAtMs: now,
      used: false,
      dueMs: now,
      failures: 0,
      asking: false,
      credential: undefined,
      settling: undefined,
      problem: undefined,
    };
  }

  #renewAll(): void {
    for (const slot of this.#slots.values()) {
      slot.settling = undefined;
      slot.dueMs = this.#options.clock.now();
    }
    this.#pump();
  }

  /** Asks for what is due, a few at a time, and sleeps until the next one is. */
  #pump(): void {
    if (this.#stopped) return;
    const now = this.#options.clock.now();
    const most = this.#options.onDemand === true ? MAX_ASKING_ON_DEMAND : MAX_ASKING;
    let next = Number.POSITIVE_INFINITY;
    for (const slot of this.#slots.values()) {
      if (slot.asking) continue;
      if (slot.dueMs > now) next = Math.min(next, slot.dueMs);
      else if (this.#isUnused(slot, now)) this.#forget(slot);
      else if (slot.settling !== undefined) next = Math.min(next, this.#keep(slot, slot.settling));
      else if (this.#asking < most) void this.#ask(slot);
    }
    this.#timer?.cancel();
    this.#timer = undefined;
    if (next < Number.POSITIVE_INFINITY)
      this.#timer = this.#options.clock.after(next - now, () => this.#pump());
  }

  async #ask(slot: Slot): Promise<void> {
    slot.asking = true;
    this.#asking += 1;
    const answer = await ask(this.#options, slot.id);
    slot.asking = false;
    this.#asking -= 1;
    if (this.#stopped) return;
    if (answer.ok) this.#take(slot, answer.value);
    else this.#failed(slot, answer.error);
    this.#pump();
  }

  #take(slot: Slot, credential: Credential): void {
    const { clock, log } = this.#options;
    if (slot.problem !== undefined) log.info("identity_issued", { spiffeId: slot.id.uri });
    slot.failures = 0;
    slot.problem = undefined;
    const settledMs = credential.notBeforeMs + SETTLE_MS;
    const inUseUntilMs = slot.credential?.notAfterMs ?? 0;
    if (settledMs <= clock.now() || inUseUntilMs <= settledMs) return void this.#keep(slot, credential);
    slot.settling = credential;
    slot.dueMs = settledMs;
  }

  /** Answers when it is due again. */
  #keep(slot: Slot, credential: Credential): number {
    const { clock } = this.#options;
    slot.credential = credential;
    slot.settling = undefined;
    slot.used = false;
    // Counted from now on, not from the certificate's backdated beginning.
    slot.dueMs = rotationDueMs({ notBeforeMs: clock.now(), notAfterMs: credential.notAfterMs }, slot.jitter);
    if (slot === this.#own && credential !== this.credential.current) this.credential.publish(credential);
    return slot.dueMs;
  }

  #failed(slot: Slot, reason: Problem): void {
    const { clock, random, log } = this.#options;
    if (slot.problem?.name !== reason.name) {
      const { code } = PROBLEMS[reason.name];
      const until = slot.credential && new Date(slot.credential.notAfterMs).toISOString();
      log.warn("identity_not_issued", {
        code,
        spiffeId: slot.id.uri,
        detail: reason.detail,
        inUseUntil: until,
      });
    }
    slot.failures += 1;
    slot.problem = reason;
    slot.dueMs = clock.now() + backoffMs(slot.failures, random(), RETRY);
  }
}

async function ask(
  { issuer, bundles, clock }: IssuedCredentialsOptions,
  spiffeId: SpiffeId,
): Promise<Result<Credential, Problem>> {
  const privateKey: KeyObject = createClusterKey();
  const answer = await issuer.issue({ csrPem: createSvidCsr({ privateKey, spiffeId }), spiffeId });
  if (!answer.ok) return answer;
  const chainPem = answer.value;
  return acceptSvid({ chainPem, spiffeId, privateKey, bundles: indexBundles(bundles()), now: clock.now() });
}
