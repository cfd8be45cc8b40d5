import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Grant, LeaseLedger, SETTLE_MS } from "./lease-ledger.ts";
import { LeasedBucket } from "./leased-bucket.ts";

const RATE = { perMs: 0.1, burst: 5 };

/** Members that share a limit through a leader, with a delay of `delayMs` each way; time goes in steps of a millisecond. */
function simulate(options: {
  readonly members: number;
  readonly durationMs: number;
  readonly rate?: typeof RATE;
  readonly delayMs?: number;
  /** Requests of a member in this millisecond. */
  readonly demand: (member: number, now: number) => number;
  /** Whether the leader can be reached. */
  readonly led?: (now: number) => boolean;
}): readonly number[] {
  const { members, durationMs, rate = RATE, delayMs = 1, demand, led = () => true } = options;
  const buckets = Array.from({ length: members }, () => new LeasedBucket(rate, 0));
  let ledger: LeaseLedger | undefined;
  const mail: { readonly at: number; readonly deliver: () => void }[] = [];
  const perSecond: number[] = [];
  const send = (now: number, grants: readonly Grant[]) => {
    for (const { member, tokens } of grants)
      mail.push({ at: now + delayMs, deliver: () => buckets[Number(member)]?.granted(tokens) });
  };
  for (let now = 0; now < durationMs; now++) {
    if (led(now) && ledger === undefined) {
      ledger = new LeaseLedger(rate, now, 0);
      for (const bucket of buckets) bucket.led(0);
    } else if (!led(now) && ledger !== undefined) {
      ledger = undefined;
      mail.length = 0;
      for (const bucket of buckets) bucket.unled(1 / members, now);
    }
    for (const letter of mail.splice(0)) {
      if (letter.at <= now) letter.deliver();
      else mail.push(letter);
    }
    const current = ledger;
    if (current !== undefined && now % SETTLE_MS === 0) send(now, current.settle(now));
    buckets.forEach((bucket, index) => {
      for (let request = 0; request < demand(index, now); request++) {
        const second = Math.floor(now / 1_000);
        if (bucket.take(now) === 0) perSecond[second] = (perSecond[second] ?? 0) + 1;
      }
      const asked = current === undefined ? undefined : bucket.ask();
      if (asked !== undefined && current !== undefined) {
        mail.push({
          at: now + delayMs,
          deliver: () =>
            send(now + delayMs, current.ask(String(index), asked.wanted, asked.held, now + delayMs)),
        });
      }
    });
  }
  return perSecond;
}

describe("a limit shared by several processes", () => {
  const busy = () => 2;
  it.each([
    ["two equally busy ones", 2, busy],
    ["one busy and one idle one", 2, (member: number) => (member === 0 ? 3 : 0)],
    ["ten of which each asks for little", 10, (_: number, now: number) => (now % 20 === 0 ? 1 : 0)],
    [
      "five that take turns",
      5,
      (member: number, now: number) => (Math.floor(now / 300) % 5 === member ? 2 : 0),
    ],
  ])("lets 95 to 105 a second through for %s", (_what, members, demand) => {
    for (const passed of simulate({ members, durationMs: 10_000, demand }).slice(1)) {
      expect(passed).toBeGreaterThanOrEqual(95);
      expect(passed).toBeLessThanOrEqual(105);
    }
  });

  it("stays below the limit from the first second on", () => {
    const [first = 0] = simulate({ members: 3, durationMs: 1_000, demand: busy });
    expect(first).toBeGreaterThan(90);
    expect(first).toBeLessThanOrEqual(105);
  });

  it("lets everything through that is within the limit", () => {
    // 80 a second in all, evenly: 2 members, one request every 25 ms each.
    const demand = (member: number, now: number) => (now % 25 === member * 12 ? 1 : 0);
    for (const passed of simulate({ members: 2, durationMs: 5_000, demand }).slice(1))
      expect(passed).toBe(80);
  });

  it("makes up for a late leader, but never within one unit of time on top of what is due", () => {
    const ledger = new LeaseLedger(RATE, 0, 0);
    const granted: { readonly at: number; readonly tokens: number }[] = [];
    const settle = (at: number) => {
      for (const { tokens } of ledger.settle(at)) granted.push({ at, tokens });
      for (const { tokens } of ledger.ask("a", 50, 0, at)) granted.push({ at, tokens });
    };
    // It is kept from its work for 200 ms of every 1,300.
    for (let at = 0; at < 20_000; at += 10) if (at % 1_300 >= 200) settle(at);
    for (let from = 1_000; from < 19_000; from += 10) {
      const within = granted.filter(({ at }) => at > from && at <= from + 1_000);
      expect(within.reduce((sum, { tokens }) => sum + tokens, 0)).toBeLessThanOrEqual(105);
    }
    const all = granted.reduce((sum, { tokens }) => sum + tokens, 0);
    expect(all).toBeGreaterThan(1_900);
  });

  it("lets no more through after a silence than the rate and one burst, though each member holds some", () => {
    const perSecond = simulate({
      members: 2,
      durationMs: 9_000,
      demand: (_member, now) => (now < 5_000 ? 0 : busy()),
    });
    expect((perSecond[5] ?? 0) + (perSecond[6] ?? 0)).toBeLessThanOrEqual(205);
    expect(perSecond.slice(6).every((passed) => passed >= 95)).toBe(true);
  });

  it.each([120, 240, 600])(
    "gives no more than one burst on top of the rate to members that ask when the rule comes and spend from %i ms on",
    (from) => {
      for (const members of [1, 2]) {
        const demand = (_member: number, now: number) => (now < from ? 0 : busy());
        const [first = 0, second = 0] = simulate({ members, durationMs: 3_000, demand });
        expect(first).toBeLessThanOrEqual((1_000 - from) / 10 + 5);
        expect(first + second).toBeGreaterThanOrEqual((2_000 - from) / 10 - 5);
        expect(second).toBeLessThanOrEqual(105);
      }
    },
  );

  it("refuses nothing of what is far below a large limit, however long the leader takes to answer", () => {
    const demand = (_member: number, now: number) => (now < 1_000 ? 0 : 10);
    const rate = { perMs: 900, burst: 45_000 };
    const perSecond = simulate({ members: 2, durationMs: 2_000, rate, delayMs: 150, demand });
    expect(perSecond[1]).toBe(20_000);
  });

  it("falls back to equal shares while there is no leader, and is exact again after", () => {
    const led = (now: number) => now < 3_000 || now >= 6_000;
    const perSecond = simulate({ members: 2, durationMs: 10_000, demand: busy, led });
    for (const passed of perSecond.slice(1)) {
      expect(passed).toBeGreaterThanOrEqual(90);
      expect(passed).toBeLessThanOrEqual(110);
    }
  });

  it("keeps within 10 percent for high and low limits and slow links", () => {
    const limits = fc.constantFrom(0.02, 0.1, 1, 10);
    fc.assert(
      fc.property(
        limits,
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 20 }),
        (perMs, members, delayMs) => {
          const rate = { perMs, burst: Math.max(1, Math.ceil(perMs * 50)) };
          const demand = (_: number, now: number) => Math.ceil((perMs * 3) / members) * (now % 2);
          const passed = simulate({ members, durationMs: 6_000, rate, delayMs, demand })
            .slice(1)
            .reduce((sum, count) => sum + count, 0);
          expect(passed).toBeLessThanOrEqual(perMs * 5_000 * 1.1);
          expect(passed).toBeGreaterThanOrEqual(perMs * 5_000 * 0.9);
        },
      ),
      { numRuns: 25 },
    );
  });
});

describe("the leader", () => {
  it("divides evenly what several wait for", () => {
    const ledger = new LeaseLedger({ perMs: 0.1, burst: 6 }, 0, 0);
    ledger.ask("a", 10, 0, 0);
    ledger.ask("b", 10, 0, 0);
    expect(ledger.settle(60)).toEqual([
      { member: "a", tokens: 3 },
      { member: "b", tokens: 3 },
    ]);
    expect(ledger.isWaitedFor).toBe(true);
  });

  it("counts what lies unspent with its members against the burst", () => {
    const ledger = new LeaseLedger({ perMs: 0.1, burst: 10 }, 0);
    expect(ledger.ask("a", 8, 0, 0)).toEqual([{ member: "a", tokens: 8 }]);
    // A minute later there are but two more, and the window of a tick.
    const [grant] = ledger.ask("b", 10, 0, 60_000);
    expect(grant?.tokens).toBeLessThanOrEqual(3);
  });

  it("forgets who leaves", () => {
    const ledger = new LeaseLedger(RATE, 0, 0);
    ledger.ask("a", 5, 0, 0);
    ledger.leave("a", 0);
    expect(ledger.isWaitedFor).toBe(false);
    expect(ledger.settle(1_000)).toEqual([]);
  });
});
