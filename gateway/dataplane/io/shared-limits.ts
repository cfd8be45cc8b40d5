import { pickByKey } from "../balance/rendezvous.ts";
import { type Grant, LeaseLedger, SETTLE_MS } from "../policy/lease-ledger.ts";
import { LeasedBucket, partOf } from "../policy/leased-bucket.ts";
import type { LimitRule } from "../policy/rule-tables.ts";
import { type Lend, type LendTo, POLL_MS, ShareLender } from "../policy/share-lender.ts";
import { type Owners, SharePool } from "../policy/share-pool.ts";
import type { Rate } from "../policy/token-bucket.ts";
import type { Limiter } from "./guard.ts";

export interface SharedLimitsOptions {
  /** Name of this process, new with every start. */
  readonly self: string;
  /** Whether it can lead, as gateways do: every member has a link to every gateway. */
  readonly leads: boolean;
  /** Milliseconds that never go back: what is lent to whom hangs on them. */
  readonly monotonicMs: () => number;
  /** Among how many processes the limits are divided, as far as is known. */
  readonly owners: () => number;
  /** Whether this process is one of them: gateways are none where agents enforce. */
  readonly owns: () => boolean;
  /** Whether anybody else leads, so that its part may have been lent by a predecessor. */
  readonly lends: () => boolean;
  /** How many of them have ended for certain. */
  readonly dead: () => number;
  /** The rate of a limit by the rules in force; `undefined`: there is none of that name. */
  readonly rateOf: (key: string) => Rate | undefined;
  /** Whether the rules in force have any shared limit. */
  readonly isActive: () => boolean;
  /** To a leader, by its name. */
  readonly ask: (leader: string, key: string, wanted: number, held: number) => void;
  readonly lend: (leader: string, lend: Lend) => void;
  /** To a member, as it called itself. */
  readonly grant: (member: string, key: string, tokens: number) => void;
  /** `read`: how many of its messages were. */
  readonly poll: (member: string, at: number, read: number) => void;
}

interface Bucket {
  readonly bucket: LeasedBucket;
  rate: Rate;
  leader: string | undefined;
}

/**
 * Limits that all proxies of a cluster share. For each limit one gateway leads, the one that comes first for its name
 * (rendezvous hashing): all who see the same gateways agree without a word. Where they do not see the same, nobody gives out
 * more than the parts that it was lent (`share-lender.ts`), so that the sum stays within the limit in any case.
 */
export class SharedLimits {
  readonly #options: SharedLimitsOptions;
  readonly #lender: ShareLender;
  readonly #pool: SharePool;
  readonly #buckets = new Map<string, Bucket>();
  readonly #ledgers = new Map<string, LeaseLedger>();
  readonly #poller: NodeJS.Timeout;
  #view: readonly string[];
  #settler: NodeJS.Timeout | undefined;

  constructor(options: SharedLimitsOptions) {
    const { self, leads, monotonicMs } = options;
    this.#options = options;
    this.#lender = new ShareLender(self, leads, monotonicMs());
    this.#pool = new SharePool(self);
    this.#view = this.#lender.view;
    this.#poller = setInterval(() => this.#tick(), POLL_MS).unref();
  }

  limiter({ key, rate }: LimitRule): Limiter {
    const now = this.#options.monotonicMs();
    const known = this.#buckets.get(key);
    if (known === undefined) {
      const made: Bucket = { bucket: new LeasedBucket(rate, now), rate, leader: undefined };
      this.#buckets.set(key, made);
      this.#follow(key, made, now);
    } else if (known.rate.perMs !== rate.perMs || known.rate.burst !== rate.burst) {
      known.rate = rate;
      known.bucket.setRate(rate);
      if (this.#isAlone(known, now)) known.bucket.unled(this.#ownPart(now), now);
    }
    return { take: () => this.#take(key) };
  }

  /** A gateway can be asked from now on, or no more. */
  leaderCame(name: string): void {
    this.#tell(this.#lender.came(name, this.#options.monotonicMs()));
  }

  leaderWent(name: string): void {
    this.#tell(this.#lender.went(name, this.#options.monotonicMs()));
  }

  /** Nothing listens any more where it did. */
  leaderDied(name: string): void {
    this.#tell(this.#lender.died(name, this.#options.monotonicMs()));
  }

  /** A leader's grant. */
  granted(key: string, tokens: number): void {
    const known = this.#buckets.get(key);
    if (known === undefined) return;
    known.bucket.granted(tokens);
    this.#askIfNeeded(key, known);
  }

  /** A leader asks for our part. */
  polled(leader: string, at: number, read: number): void {
    const now = this.#options.monotonicMs();
    this.#tell(this.#lender.polled(leader, at, read, now));
    // From now on it has our part, and knows the limit.
    for (const [key, known] of this.#buckets)
      if (known.leader === leader && known.bucket.isAlone) this.#askAnew(key, known, now);
  }

  /** Who learns of its first shared limit asks for the parts at once: they were its members' own until now. */
  rulesChanged(): void {
    if (!this.#options.leads || !this.#options.isActive()) return;
    for (const member of this.#pool.members) this.#poll(member);
  }

  memberCame(member: string): void {
    this.#pool.came(member);
    if (this.#options.leads && this.#options.isActive()) this.#poll(member);
  }

  memberWent(member: string): void {
    const now = this.#options.monotonicMs();
    this.#pool.went(member);
    for (const ledger of this.#ledgers.values()) ledger.leave(member, now);
  }

  /** A member asks us to lead. A limit that we do not know (yet) is not answered: the member has its own part meanwhile. */
  asked(member: string, key: string, wanted: number, held: number): void {
    const now = this.#options.monotonicMs();
    const ledger = this.#ledger(key, now);
    if (ledger === undefined) return;
    this.#give(key, ledger.ask(member, wanted, held, now));
    this.#settler ??= setInterval(() => this.#settle(), SETTLE_MS).unref();
  }

  /** What a member lends us, or takes back. */
  lent(member: string, lend: Lend): void {
    if (this.#pool.lent(member, lend, this.#options.monotonicMs())) this.#poll(member);
  }

  /** This process ends: it leads no more, and its part is the others'. */
  retire(): void {
    this.#pool.clear();
    this.#tell(this.#lender.retire(this.#options.monotonicMs()));
  }

  close(): void {
    clearInterval(this.#poller);
    clearInterval(this.#settler);
  }

  #tick(): void {
    const now = this.#options.monotonicMs();
    this.#tell(this.#lender.tick(now));
    for (const [key, known] of this.#buckets) {
      // What is its own may have become more, when a lease is over or others have gone; and a question may have met a leader
      // that did not know the limit yet.
      this.#askAnew(key, known, now);
    }
    // Where nothing is lent any more, nothing is saved up.
    for (const key of [...this.#ledgers.keys()]) this.#ledger(key, now);
    if (!this.#options.leads || this.#lender.isRetired || !this.#options.isActive()) return;
    for (const member of this.#pool.members) this.#poll(member);
  }

  #poll(member: string): void {
    const { poll, monotonicMs } = this.#options;
    if (!this.#lender.isRetired) poll(member, monotonicMs(), this.#pool.read(member));
  }

  #tell(messages: readonly LendTo[]): void {
    for (const { leader, ...lend } of messages) this.#options.lend(leader, lend);
    if (this.#lender.view === this.#view) return;
    this.#view = this.#lender.view;
    const now = this.#options.monotonicMs();
    for (const [key, known] of this.#buckets) this.#follow(key, known, now);
  }

  #take(key: string): number {
    const known = this.#buckets.get(key);
    if (known === undefined) return 0;
    const waitMs = known.bucket.take(this.#options.monotonicMs());
    this.#askIfNeeded(key, known);
    return waitMs;
  }

  #askIfNeeded(key: string, { leader, bucket }: Bucket): void {
    if (leader === undefined || bucket.isAlone) return;
    const asked = bucket.ask();
    if (asked === undefined) return;
    const { self, ask } = this.#options;
    if (leader === self) this.asked(self, key, asked.wanted, asked.held);
    else ask(leader, key, asked.wanted, asked.held);
  }

  #follow(key: string, known: Bucket, now: number): void {
    const leader = pickByKey(this.#view, (name) => name, key);
    if (leader === known.leader && leader !== undefined) return;
    known.leader = leader;
    // Whoever leads again begins with nothing: others may have spent the burst a moment ago.
    if (leader !== this.#options.self) this.#ledgers.delete(key);
    this.#askAnew(key, known, now);
  }

  #askAnew(key: string, known: Bucket, now: number): void {
    if (this.#isAlone(known, now)) known.bucket.unled(this.#ownPart(now), now);
    else known.bucket.led(now);
    this.#askIfNeeded(key, known);
  }

  /**
   * Nobody leads, or this is the only owner and the leader was not lent its part yet: it may not know the limit, and to refuse
   * everything until it does would help nobody.
   */
  #isAlone({ leader }: Bucket, now: number): boolean {
    if (leader === undefined) return true;
    const isLed = leader === this.#options.self || this.#lender.hasLent(leader, now);
    return !isLed && this.#ownPart(now) === 1;
  }

  /** Of each limit, while nobody else has it. */
  #ownPart(now: number): number {
    const { owns, owners } = this.#options;
    if (!owns() || !this.#lender.isFree(now)) return 0;
    const count = Math.max(1, owners());
    return count === 1 || this.#isSettled(now) ? 1 / count : 0;
  }

  #isSettled(now: number): boolean {
    return this.#lender.isSettled(now) || !this.#options.lends();
  }

  #owners(key: string, now: number): Owners {
    const { owners, dead, owns, self } = this.#options;
    const leads = pickByKey(this.#view, (name) => name, key) === self;
    const isOwner = leads && owns() && this.#lender.isFree(now);
    const own = !isOwner ? "none" : this.#isSettled(now) ? "settled" : "newcomer";
    return { count: owners(), dead: dead(), own };
  }

  /** `undefined`: there is no such limit. */
  #ledger(key: string, now: number): LeaseLedger | undefined {
    const whole = this.#options.rateOf(key);
    if (whole === undefined) {
      this.#ledgers.delete(key);
      return undefined;
    }
    const { isRetired } = this.#lender;
    const rate = partOf(whole, isRetired ? 0 : this.#pool.part(key, () => this.#owners(key, now), now));
    const known = this.#ledgers.get(key) ?? new LeaseLedger(rate, now, 0);
    known.setRate(rate, now);
    this.#ledgers.set(key, known);
    return known;
  }

  #settle(): void {
    const now = this.#options.monotonicMs();
    let waited = false;
    for (const key of [...this.#ledgers.keys()]) {
      const ledger = this.#ledger(key, now);
      if (ledger === undefined) continue;
      this.#give(key, ledger.settle(now));
      waited ||= ledger.isWaitedFor;
    }
    if (waited) return;
    clearInterval(this.#settler);
    this.#settler = undefined;
  }

  #give(key: string, grants: readonly Grant[]): void {
    const { self, grant } = this.#options;
    for (const { member, tokens } of grants) {
      if (member === self) this.#buckets.get(key)?.bucket.granted(tokens);
      else grant(member, key, tokens);
    }
  }
}
