import { Resolver } from "node:dns";
import type { IpAddress } from "../../../../federation/model/ip-address.ts";
import { parseIp } from "../../../../federation/model/ip-address.ts";
import { type Problem, problem } from "../../../../federation/model/problem.ts";
import { err, ok, type Result } from "../../../../federation/model/result.ts";

export type Resolved = (addresses: Result<readonly IpAddress[], Problem>) => void;

/** Names to addresses; whoever dials gets the very addresses that were judged. */
export interface NameResolver {
  resolve(name: string, done: Resolved): void;
}

/** One query of one record type: addresses with their life in seconds, or an error code of `node:dns`. */
export type Lookup = (
  name: string,
  done: (
    code: string | undefined,
    records: readonly { readonly address: string; readonly ttl: number }[],
  ) => void,
) => void;

export interface ResolverOptions {
  readonly lookup4: Lookup;
  readonly lookup6: Lookup;
  readonly now: () => number;
  readonly maxNames?: number;
}

const MAX_NAMES = 4_096;
// A name that changes more often than this is resolved at most so often; a longer life than the upper bound is not believed.
const MIN_TTL_MS = 1_000;
const MAX_TTL_MS = 300_000;
const NEGATIVE_TTL_MS = 1_000;
// With the DNS servers away, what was known a moment ago is better than nothing (RFC 8767).
const STALE_MS = 300_000;
// How long one address family waits for the other (RFC 8305 §3).
const RESOLUTION_DELAY_MS = 50;
// Answers with more addresses are cut: each may cost a connection attempt.
const MAX_ADDRESSES = 16;

interface Known {
  readonly result: Result<readonly IpAddress[], Problem>;
  readonly freshUntilMs: number;
  readonly usableUntilMs: number;
}

/** A and AAAA of the system's DNS servers, never the hosts file: what stands there is this machine's own affair. */
export function systemLookups(servers: readonly string[]): Pick<ResolverOptions, "lookup4" | "lookup6"> {
  const resolver = new Resolver({ timeout: 1_500, tries: 2 });
  if (servers.length > 0) resolver.setServers(servers);
  return {
    lookup4: (name, done) => {
      resolver.resolve4(name, { ttl: true }, (error, records) => done(codeOf(error), records ?? []));
    },
    lookup6: (name, done) => {
      resolver.resolve6(name, { ttl: true }, (error, records) => done(codeOf(error), records ?? []));
    },
  };
}

function codeOf(error: NodeJS.ErrnoException | null): string | undefined {
  return error === null ? undefined : (error.code ?? "EUNKNOWN");
}

// Says that the name has no such record: an answer, unlike a time-out.
const NO_RECORD = new Set(["ENODATA", "ENOTFOUND"]);

export class CachingResolver implements NameResolver {
  readonly #options: ResolverOptions;
  readonly #known = new Map<string, Known>();
  readonly #waiting = new Map<string, Resolved[]>();

  constructor(options: ResolverOptions) {
    this.#options = options;
  }

  resolve(name: string, done: Resolved): void {
    const known = this.#known.get(name);
    if (known !== undefined && this.#options.now() < known.freshUntilMs) return done(known.result);
    const waiting = this.#waiting.get(name);
    if (waiting !== undefined) return void waiting.push(done);
    if (this.#waiting.size >= (this.#options.maxNames ?? MAX_NAMES))
      return done(err(problem("overloaded", "too many names are being resolved")));
    this.#waiting.set(name, [done]);
    this.#query(name);
  }

  #query(name: string): void {
    const { lookup4, lookup6 } = this.#options;
    const answer: Partial<Record<"4" | "6", Answer>> = {};
    let finished = false;
    const finish = (): void => {
      if (finished) return;
      finished = true;
      clearTimeout(timer);
      this.#finish(name, answer["4"], answer["6"]);
    };
    let timer: NodeJS.Timeout | undefined;
    const take =
      (family: "4" | "6"): Parameters<Lookup>[1] =>
      (code, records) => {
        answer[family] = { code, records };
        if (answer["4"] !== undefined && answer["6"] !== undefined) finish();
        else if (records.length > 0) timer = setTimeout(finish, RESOLUTION_DELAY_MS);
      };
    lookup6(name, take("6"));
    lookup4(name, take("4"));
  }

  #finish(name: string, four: Answer | undefined, six: Answer | undefined): void {
    const now = this.#options.now();
    const records = interleave(six?.records ?? [], four?.records ?? []).slice(0, MAX_ADDRESSES);
    const addresses = records.flatMap(({ address }) => parseIp(address) ?? []);
    const known = this.#known.get(name);
    let next: Known;
    if (addresses.length > 0) {
      const ttlMs = Math.min(...records.map(({ ttl }) => ttl * 1_000));
      const freshUntilMs = now + Math.min(MAX_TTL_MS, Math.max(MIN_TTL_MS, ttlMs));
      next = { result: ok(addresses), freshUntilMs, usableUntilMs: freshUntilMs + STALE_MS };
    } else if (known?.result.ok === true && now < known.usableUntilMs && !isAnswer(four, six)) {
      next = { ...known, freshUntilMs: now + NEGATIVE_TTL_MS };
    } else {
      const detail = `${name}: ${[four?.code, six?.code].filter((code) => code !== undefined).join(", ")}`;
      const result = err(problem("external_unresolved", detail));
      next = { result, freshUntilMs: now + NEGATIVE_TTL_MS, usableUntilMs: now };
    }
    if (this.#known.size >= (this.#options.maxNames ?? MAX_NAMES)) this.#evict(now);
    this.#known.set(name, next);
    const waiting = this.#waiting.get(name) ?? [];
    this.#waiting.delete(name);
    for (const done of waiting) done(next.result);
  }

  #evict(now: number): void {
    for (const [name, { freshUntilMs }] of this.#known) if (freshUntilMs <= now) this.#known.delete(name);
    const [oldest] = this.#known.keys();
    if (oldest !== undefined && this.#known.size >= (this.#options.maxNames ?? MAX_NAMES))
      this.#known.delete(oldest);
  }
}

interface Answer {
  readonly code: string | undefined;
  readonly records: readonly { readonly address: string; readonly ttl: number }[];
}

/** Whether the servers said something about both families, if only that there is nothing. */
function isAnswer(four: Answer | undefined, six: Answer | undefined): boolean {
  return [four, six].every((answer) => answer?.code === undefined || NO_RECORD.has(answer.code));
}

/** IPv6 first, then in turn (RFC 8305 §4). */
function interleave<T>(first: readonly T[], second: readonly T[]): T[] {
  const mixed: T[] = [];
  for (let index = 0; index < Math.max(first.length, second.length); index++) {
    const [a, b] = [first[index], second[index]];
    if (a !== undefined) mixed.push(a);
    if (b !== undefined) mixed.push(b);
  }
  return mixed;
}
