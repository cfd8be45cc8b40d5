import { pickByKey } from "../balance/rendezvous.ts";
import { type Grant, LeaseLedger, SETTLE_MS } from "../policy/lease-ledger.ts";
import { LeasedBucket } from "../policy/leased-bucket.ts";
import type { LimitRule } from "../policy/rule-tables.ts";
import type { Rate } from "../policy/token-bucket.ts";
import type { Limiter } from "./guard.ts";

export interface SharedLimitsOptions {
  /** Name of this process. */
  readonly self: string;
  /** Whether it can lead, as gateways do: every member has a link to every gateway. */
  readonly leads: boolean;
  readonly now: () => number;
  /** How many processes enforce limits, as far as is known: what a share is a part of. */
  readonly members: () => number;
  /** The rate of a limit by the rules in force; `undefined`: there is none of that name. */
  readonly rateOf: (key: string) => Rate | undefined;
  /** To a leader, by its name. */
  readonly ask: (leader: string, key: string, wanted: number, held: number) => void;
  readonly grant: (member: string, key: string, tokens: number) => void;
}

/**
 * Limits that all proxies of a cluster share. For each limit one gateway leads, the one that comes first for its name
 * (rendezvous hashing): all who see the same gateways agree without a word. Its loss is seen with its link, and the next leads,
 * beginning with nothing; who sees no gateway goes by an equal share of the limit.
 */
export class SharedLimits {
  readonly #options: SharedLimitsOptions;
  readonly #leaders = new Set<string>();
  readonly #buckets = new Map<
    string,
    { readonly bucket: LeasedBucket; rate: Rate; leader: string | undefined }
  >();
  readonly #ledgers = new Map<string, LeaseLedger>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: SharedLimitsOptions) {
    this.#options = options;
    if (options.leads) this.#leaders.add(options.self);
  }

  limiter(limit: LimitRule): Limiter {
    const { key, rate } = limit;
    const { now, members } = this.#options;
    const known = this.#buckets.get(key);
    if (known === undefined) {
      const made = { bucket: new LeasedBucket(rate, members(), now()), rate, leader: undefined };
      this.#buckets.set(key, made);
      this.#follow(key);
    } else if (known.rate.perMs !== rate.perMs || known.rate.burst !== rate.burst) {
      known.rate = rate;
      known.bucket.setRate(rate, members(), now());
    }
    return { take: (at) => this.#take(key, at) };
  }

  /** A gateway can be asked from now on, or no more. */
  leaderCame(name: string): void {
    this.#leaders.add(name);
    this.#followAll();
  }

  leaderWent(name: string): void {
    if (name === this.#options.self) return;
    this.#leaders.delete(name);
    this.#followAll();
  }

  /** A leader's grant. */
  granted(key: string, tokens: number): void {
    this.#buckets.get(key)?.bucket.granted(tokens);
    this.#askIfNeeded(key);
  }

  /** A member asks us to lead. A limit that we do not know (yet) is not answered: the member has its share meanwhile. */
  asked(member: string, key: string, wanted: number, held: number): void {
    const ledger = this.#ledger(key);
    if (ledger === undefined) return;
    this.#give(key, ledger.ask(member, wanted, held, this.#options.now()));
    this.#timer ??= setInterval(() => this.#settle(), SETTLE_MS).unref();
  }

  memberWent(member: string): void {
    for (const ledger of this.#ledgers.values()) ledger.leave(member, this.#options.now());
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #take(key: string, now: number): number {
    const known = this.#buckets.get(key);
    if (known === undefined) return 0;
    const waitMs = known.bucket.take(now);
    if (known.leader !== undefined) this.#askIfNeeded(key);
    return waitMs;
  }

  #askIfNeeded(key: string): void {
    const known = this.#buckets.get(key);
    if (known?.leader === undefined) return;
    const asked = known.bucket.ask();
    if (asked === undefined) return;
    const { self, ask } = this.#options;
    if (known.leader === self) this.asked(self, key, asked.wanted, asked.held);
    else ask(known.leader, key, asked.wanted, asked.held);
  }

  #followAll(): void {
    for (const key of this.#buckets.keys()) this.#follow(key);
  }

  #follow(key: string): void {
    const known = this.#buckets.get(key);
    if (known === undefined) return;
    const leader = pickByKey([...this.#leaders], (name) => name, key);
    if (leader === known.leader) return;
    known.leader = leader;
    if (leader === undefined) return known.bucket.unled(this.#options.members(), this.#options.now());
    known.bucket.led();
    this.#askIfNeeded(key);
  }

  #ledger(key: string): LeaseLedger | undefined {
    const rate = this.#options.rateOf(key);
    if (rate === undefined) {
      this.#ledgers.delete(key);
      return undefined;
    }
    const now = this.#options.now();
    const known = this.#ledgers.get(key) ?? new LeaseLedger(rate, now, 0);
    known.setRate(rate, now);
    this.#ledgers.set(key, known);
    return known;
  }

  #settle(): void {
    let waited = false;
    for (const [key, ledger] of this.#ledgers) {
      this.#give(key, ledger.settle(this.#options.now()));
      waited ||= ledger.isWaitedFor;
    }
    if (waited) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #give(key: string, grants: readonly Grant[]): void {
    const { self, grant } = this.#options;
    for (const { member, tokens } of grants) {
      if (member === self) this.#buckets.get(key)?.bucket.granted(tokens);
      else grant(member, key, tokens);
    }
  }
}
