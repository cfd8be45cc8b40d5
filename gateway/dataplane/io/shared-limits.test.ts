// Longer than other files: a small world of processes and links, and the histories that it is driven through.
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { LimitRule } from "../policy/rule-tables.ts";
import { LEASE_MS, NEWCOMER_MS } from "../policy/share-lender.ts";
import { SharedLimits } from "./shared-limits.ts";

const RATE = { perMs: 0.1, burst: 5 };
const LIMIT: LimitRule = {
  name: "west/shop/limit",
  observe: false,
  destination: undefined,
  key: "west/shop/limit cart.shop",
  version: undefined,
  from: [],
  rate: RATE,
  shared: true,
};

/** Simulated processes on clocks of their own, and a network between them that can be cut. */
class Cluster {
  readonly sizes: { owners: number };
  readonly #processes = new Map<string, Process>();
  readonly #delayMs: number;
  #mail: { readonly at: number; readonly from: string; readonly to: string; readonly deliver: () => void }[] =
    [];
  /** Pairs that do not reach each other. */
  readonly cut = new Set<string>();
  now = 0;
  /** When requests passed. */
  readonly passed: number[] = [];

  constructor(owners: number, delayMs = 1) {
    this.sizes = { owners };
    this.#delayMs = delayMs;
  }

  start(address: string, role: "gateway" | "agent", mayLead = role === "gateway"): void {
    const generation = (this.#processes.get(address)?.generation ?? 0) + 1;
    const name = `${address}/${generation}`;
    const offset = 10_000 * (this.#processes.size + 1) + 7 * generation;
    const send = (to: string, deliver: (process: Process) => void): void => {
      const at = this.now + this.#delayMs;
      const target = [...this.#processes.values()].find((one) => one.name === to);
      if (target === undefined) return;
      const letter = () => target.isAlive && deliver(target);
      this.#mail.push({ at, from: address, to: target.address, deliver: letter });
    };
    const limits = new SharedLimits({
      self: name,
      leads: mayLead,
      monotonicMs: () => this.now + offset,
      owners: () => this.sizes.owners,
      owns: () => true,
      lends: () => true,
      dead: () => this.#refusedFrom(address).length,
      rateOf: () => RATE,
      isActive: () => true,
      ask: (leader, key, wanted, held) => send(leader, (one) => one.limits.asked(name, key, wanted, held)),
      lend: (leader, lend) => send(leader, (one) => one.limits.lent(name, lend)),
      grant: (member, key, tokens) => send(member, (one) => one.limits.granted(key, tokens)),
      poll: (member, at, read) => send(member, (one) => one.limits.polled(name, at, read)),
    });
    const process: Process = {
      address,
      name,
      generation,
      limits,
      isAlive: true,
      links: new Map(),
      met: new Map(),
      take: (at) => limits.limiter(LIMIT).take(at),
    };
    limits.limiter(LIMIT);
    this.#processes.set(address, process);
    this.#connect();
  }

  kill(address: string): void {
    const found = this.#processes.get(address);
    if (found === undefined) return;
    found.isAlive = false;
    found.limits.close();
    this.#mail = this.#mail.filter(({ to }) => to !== address);
    this.#connect();
  }

  /** Links are lost only some time after the network is. */
  partition(a: string, b: string): void {
    this.cut.add(`${a} ${b}`).add(`${b} ${a}`);
  }

  heal(): void {
    this.cut.clear();
  }

  /** Goes on by 5 ms, in which each process gets so many requests. */
  step(demand: (address: string) => number): void {
    this.now += STEP_MS;
    vi.advanceTimersByTime(STEP_MS);
    const due = this.#mail.filter(({ at }) => at <= this.now);
    this.#mail = this.#mail.filter(({ at }) => at > this.now);
    for (const { from, to, deliver } of due) if (!this.cut.has(`${from} ${to}`)) deliver();
    if (this.now % 50 === 0) this.#connect();
    for (const { address, isAlive, take } of this.#processes.values())
      for (let request = 0; isAlive && request < demand(address); request++)
        if (take(this.now) === 0) this.passed.push(this.now);
  }

  run(ms: number, demand: (address: string) => number = () => 2): void {
    for (let step = 0; step < ms; step += STEP_MS) this.step(demand);
  }

  /** The fullest second. */
  fullest(fromMs = 0): number {
    let most = 0;
    let first = 0;
    for (const [last, at] of this.passed.entries()) {
      if (at <= fromMs) continue;
      while ((this.passed[first] ?? 0) <= Math.max(fromMs, at - 1_000)) first += 1;
      most = Math.max(most, last - first + 1);
    }
    return most;
  }

  within(fromMs: number, toMs: number): number {
    return this.passed.filter((at) => at > fromMs && at <= toMs).length;
  }

  close(): void {
    for (const { limits } of this.#processes.values()) limits.close();
  }

  #reaches(from: string, to: string): boolean {
    return !this.cut.has(`${from} ${to}`);
  }

  /** Addresses where nobody listens, as seen from another one. */
  #refusedFrom(from: string): readonly string[] {
    return [...this.#processes.values()]
      .filter(({ address, isAlive }) => !isAlive && address !== from && this.#reaches(from, address))
      .map(({ address }) => address);
  }

  #connect(): void {
    for (const one of this.#processes.values()) {
      if (!one.isAlive) continue;
      for (const other of this.#processes.values()) {
        if (other === one || !other.address.startsWith("g")) continue;
        const link = one.links.get(other.address);
        const reaches = this.#reaches(one.address, other.address);
        if (link !== undefined && (!other.isAlive || link.name !== other.name))
          this.#unlink(one, other, link);
        else if (link !== undefined && !reaches && this.now - link.heardMs > 3_000)
          this.#unlink(one, other, link);
        else if (link !== undefined && reaches) link.heardMs = this.now;
        if (!other.isAlive || !reaches || one.links.has(other.address)) continue;
        one.links.set(other.address, { name: other.name, heardMs: this.now });
        one.met.set(other.address, other.name);
        other.limits.memberCame(one.name);
        one.limits.leaderCame(other.name);
      }
      for (const address of this.#refusedFrom(one.address)) {
        const name = one.met.get(address);
        if (name !== undefined && !one.links.has(address)) one.limits.leaderDied(name);
      }
    }
    for (const gone of this.#processes.values()) {
      if (gone.isAlive) continue;
      for (const other of this.#processes.values()) if (other !== gone) other.limits.memberWent(gone.name);
    }
  }

  #unlink(one: Process, other: Process, link: { readonly name: string }): void {
    one.links.delete(other.address);
    one.limits.leaderWent(link.name);
    other.limits.memberWent(one.name);
  }
}

interface Process {
  readonly address: string;
  readonly name: string;
  readonly generation: number;
  readonly limits: SharedLimits;
  readonly links: Map<string, { readonly name: string; heardMs: number }>;
  readonly met: Map<string, string>;
  readonly take: (at: number) => number;
  isAlive: boolean;
}

const STEP_MS = 5;

describe("limits that several processes share", () => {
  const open: Cluster[] = [];
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => {
    for (const one of open.splice(0)) one.close();
    vi.useRealTimers();
  });

  function cluster(gateways: number, agents = 0, delayMs = 1): Cluster {
    const made = new Cluster(agents || gateways, delayMs);
    open.push(made);
    for (let at = 1; at <= gateways; at++) made.start(`g${at}`, "gateway");
    return made;
  }

  it("let the limit through from the first second on, and no more", () => {
    const pair = cluster(2);
    pair.run(5_000);
    expect(pair.fullest()).toBeLessThanOrEqual(105);
    for (let second = 1; second < 5; second++)
      expect(pair.within(second * 1_000, second * 1_000 + 1_000)).toBeGreaterThanOrEqual(95);
  });

  it("are led by a gateway for itself where it is alone", () => {
    const alone = cluster(1);
    alone.run(3_000);
    expect(alone.fullest()).toBeLessThanOrEqual(105);
    expect(alone.within(1_000, 3_000)).toBeGreaterThanOrEqual(190);
  });

  it("let no second see more after a gateway is killed and has come back, and hardly less", () => {
    for (const victim of ["g1", "g2"]) {
      const pair = cluster(2);
      pair.run(6_000);
      pair.kill(victim);
      pair.run(1_000);
      pair.start(victim, "gateway");
      pair.run(3_000);
      expect(pair.fullest()).toBeLessThanOrEqual(105);
      expect(pair.within(6_000, 8_000)).toBeGreaterThanOrEqual(180);
      expect(pair.within(8_000, 10_000)).toBeGreaterThanOrEqual(180);
    }
  });

  it("stay within the limit while two gateways do not reach each other, and each lets its part through", () => {
    const pair = cluster(2);
    pair.run(6_000);
    pair.partition("g1", "g2");
    pair.run(8_000);
    expect(pair.fullest()).toBeLessThanOrEqual(105);
    // When every lease is over: both halves again.
    expect(pair.within(10_000, 14_000)).toBeGreaterThanOrEqual(360);
    pair.heal();
    pair.run(4_000, (address) => (address === "g1" ? 2 : 0));
    expect(pair.fullest()).toBeLessThanOrEqual(105);
    // The other one's half is lent again.
    expect(pair.within(16_000, 18_000)).toBeGreaterThanOrEqual(185);
  });

  it("give who is cut off from every gateway its own part, and others theirs", () => {
    const mesh = new Cluster(2);
    open.push(mesh);
    // Gateways that serve no workloads own nothing: here the two agents are the owners.
    mesh.start("g1", "gateway");
    mesh.sizes.owners = 3;
    mesh.start("a1", "agent");
    mesh.start("a2", "agent");
    mesh.run(6_000);
    mesh.partition("a1", "g1");
    mesh.run(6_000);
    expect(mesh.fullest()).toBeLessThanOrEqual(105);
    expect(mesh.within(10_000, 12_000)).toBeGreaterThanOrEqual(170);
  });

  it("never exceed the limit, whoever is killed, started or cut off, and when", () => {
    const address = fc.constantFrom("g1", "g2", "g3");
    const event = fc.oneof(
      fc.record({ kind: fc.constant("kill" as const), a: address, b: address }),
      fc.record({ kind: fc.constant("start" as const), a: address, b: address }),
      fc.record({ kind: fc.constant("partition" as const), a: address, b: address }),
      fc.record({ kind: fc.constant("heal" as const), a: address, b: address }),
    );
    const history = fc.array(fc.tuple(fc.integer({ min: 1, max: 2_500 }), event), { maxLength: 8 });
    fc.assert(
      fc.property(history, fc.integer({ min: 1, max: 30 }), (events, delayMs) => {
        const alive = new Set(["g1", "g2", "g3"]);
        const trio = cluster(3, 0, delayMs);
        trio.run(500);
        for (const [ms, { kind, a, b }] of events) {
          trio.run(ms);
          if (kind === "kill" && alive.delete(a)) trio.kill(a);
          else if (kind === "start" && !alive.has(a)) trio.start(a, "gateway");
          else if (kind === "partition" && a !== b) trio.partition(a, b);
          else if (kind === "heal") trio.heal();
          if (kind === "start") alive.add(a);
        }
        trio.run(2_000);
        expect(trio.fullest()).toBeLessThanOrEqual(105);
      }),
      { seed: 1, numRuns: 40 },
    );
  });
});

describe("a member of a shared limit", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  function member(self: string, leads: boolean, rate: typeof RATE | "none" = RATE, owners = 2) {
    let now = 1_000;
    const said: string[] = [];
    const limits = new SharedLimits({
      self,
      leads,
      monotonicMs: () => now,
      owners: () => owners,
      owns: () => true,
      lends: () => true,
      dead: () => 0,
      rateOf: () => (rate === "none" ? undefined : rate),
      isActive: () => true,
      ask: (leader, _key, wanted) => said.push(`ask ${leader} ${wanted}`),
      lend: (leader, { leaders, settled }) => said.push(`lend ${leader} [${leaders.join()}] ${settled}`),
      grant: (to, _key, tokens) => said.push(`grant ${to} ${tokens}`),
      poll: (to, _at, read) => said.push(`poll ${to} ${read}`),
    });
    const limiter = limits.limiter(LIMIT);
    return {
      limits,
      heard: () => said.splice(0),
      wait: (ms: number) => {
        for (let step = 0; step < ms; step += 10) {
          now += 10;
          vi.advanceTimersByTime(10);
        }
      },
      passes: () => {
        let count = 0;
        while (limiter.take(now) === 0) count += 1;
        return count;
      },
    };
  }

  it("has nothing when it has just begun, and its own part while no gateway can be asked", () => {
    const { wait, passes, limits } = member("agent-1", false);
    wait(1_000);
    expect(passes()).toBe(0);
    wait(NEWCOMER_MS + 500);
    // Half of the burst.
    expect(passes()).toBe(2);
    wait(20);
    expect(passes()).toBe(1);
    limits.close();
  });

  it("asks the leader as soon as there is one, and spends what it grants", () => {
    const { limits, passes, heard } = member("agent-1", false);
    limits.leaderCame("gateway-1");
    expect(heard()).toEqual(["ask gateway-1 5"]);
    limits.granted(LIMIT.key, 4);
    expect(passes()).toBe(4);
    limits.close();
  });

  it("goes by its own part until the leader has it, and spends first what came in before that", () => {
    const { limits, wait, passes } = member("agent-1", false, RATE, 1);
    limits.leaderCame("gateway-1");
    wait(100);
    expect(passes()).toBe(5);
    wait(20);
    limits.polled("gateway-1", 5, 0);
    wait(200);
    expect(passes()).toBe(2);
    limits.close();
  });

  it("that leads asks its members for their parts as soon as a rule shares a limit", () => {
    const { limits, heard } = member("gateway-1", true);
    limits.memberCame("agent-1");
    heard();
    limits.rulesChanged();
    expect(heard()).toEqual(["poll agent-1 0"]);
    limits.close();
  });

  it("lends to the next leader only what the one before has given back", () => {
    const { limits, heard, wait } = member("agent-1", false);
    limits.leaderCame("gateway-1");
    limits.polled("gateway-1", 5, 0);
    expect(heard().at(-1)).toBe("lend gateway-1 [gateway-1] false");
    limits.leaderCame("gateway-2");
    limits.polled("gateway-2", 9, 0);
    // It may be among either's limits: nothing to anybody until the first has read that it is taken back.
    expect(heard().filter((one) => one.startsWith("lend"))).toEqual(["lend gateway-1 [] false"]);
    limits.polled("gateway-1", 6, 2);
    expect(heard().filter((one) => one.startsWith("lend"))).toEqual([
      "lend gateway-1 [gateway-1,gateway-2] false",
      "lend gateway-2 [gateway-1,gateway-2] false",
    ]);
    wait(NEWCOMER_MS);
    limits.close();
  });

  it("takes a leader that is silent for too long for lost, and waits until what it lent is free", () => {
    const { limits, wait, passes } = member("agent-1", false);
    limits.leaderCame("gateway-1");
    wait(NEWCOMER_MS);
    limits.leaderCame("gateway-1");
    limits.polled("gateway-1", 5, 0);
    wait(LEASE_MS);
    expect(passes()).toBe(0);
    wait(1_000);
    expect(passes()).toBeGreaterThan(0);
    limits.close();
  });

  it("asks again what a leader did not know yet", () => {
    const { limits, wait, heard } = member("agent-1", false);
    limits.leaderCame("gateway-1");
    heard();
    wait(500);
    expect(heard()).toEqual(["ask gateway-1 5"]);
    limits.close();
  });

  it("that leads gives nothing for a limit that nobody knows, and nothing once it ends", () => {
    const ignorant = member("gateway-1", true, "none");
    ignorant.limits.asked("agent-1", "unknown", 3, 0);
    ignorant.wait(1_000);
    expect(ignorant.heard()).toEqual([]);
    ignorant.limits.close();
    const leader = member("gateway-1", true, RATE, 1);
    leader.limits.memberCame("agent-1");
    leader.limits.asked("agent-1", LIMIT.key, 3, 0);
    leader.wait(100);
    expect(leader.heard().some((one) => one.startsWith("grant agent-1"))).toBe(true);
    leader.limits.retire();
    leader.limits.asked("agent-1", LIMIT.key, 50, 0);
    leader.wait(1_000);
    expect(leader.heard().filter((one) => one.startsWith("grant"))).toEqual([]);
    leader.limits.close();
  });
});
