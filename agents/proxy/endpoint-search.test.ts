import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { OpenedStream } from "../../gateway/dataplane/index.ts";
import { searchEndpoint, tryingOrder } from "./endpoint-search.ts";
import type { MeshEndpoint } from "./mesh.ts";

const beside = (node: number, agent = `agent-${node}`): MeshEndpoint => ({
  address: `10.0.${node}.1:80`,
  local: false,
  agent,
});
const HERE: MeshEndpoint = { address: "10.0.0.1:80", local: true };
const BARE: MeshEndpoint = { address: "10.0.9.1:80", local: false };

/** Agents as their tunnels tell of them, and one call. */
function scene(endpoints: readonly MeshEndpoint[]) {
  const state = new Map<string, "ready" | "away">();
  const listeners = new Set<() => void>();
  const asked: string[] = [];
  const found: string[] = [];
  let isOver = false;
  return {
    asked,
    found,
    listeners,
    becomes(agent: string, next: "ready" | "away") {
      state.set(agent, next);
      for (const listener of [...listeners]) listener();
    },
    hangUp: () => (isOver = true),
    call: () =>
      searchEndpoint({
        endpoints,
        agents: {
          isAway: (agent) => state.get(agent) === "away",
          open(agent) {
            if (!asked.includes(agent)) asked.push(agent);
            return state.get(agent) === "ready" ? ({ agent } as unknown as OpenedStream) : undefined;
          },
          onChange(listener) {
            listeners.add(listener);
            return () => listeners.delete(listener);
          },
        },
        fields: () => ({}),
        isOver: () => isOver,
        onFound: (one) =>
          found.push(
            one.kind === "tunnel" ? (one.stream as unknown as { readonly agent: string }).agent : one.kind,
          ),
      }),
  };
}

describe("a call's search for an endpoint", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => {
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
  });

  it("takes the first, and asks nobody else, where its agent answers", () => {
    const { call, becomes, asked, found } = scene([beside(1), beside(2)]);
    becomes("agent-1", "ready");
    call();
    expect([asked, found]).toEqual([["agent-1"], ["agent-1"]]);
  });

  it("goes to the next at once when an agent turns out to be away", () => {
    const { call, becomes, found, listeners } = scene([beside(1), beside(2)]);
    becomes("agent-2", "ready");
    call();
    expect(found).toEqual([]);
    becomes("agent-1", "away");
    expect(found).toEqual(["agent-2"]);
    expect(listeners.size).toBe(0);
  });

  it("goes on after a quarter of a second of silence, and takes whoever answers first", () => {
    const { call, becomes, asked, found } = scene([beside(1), beside(2), beside(3)]);
    call();
    vi.advanceTimersByTime(249);
    expect(asked).toEqual(["agent-1"]);
    vi.advanceTimersByTime(1);
    expect(asked).toEqual(["agent-1", "agent-2"]);
    becomes("agent-2", "away");
    expect(asked).toEqual(["agent-1", "agent-2", "agent-3"]);
    becomes("agent-1", "ready");
    expect(found).toEqual(["agent-1"]);
  });

  it("ends at a pod of its own node, or at one that no agent stands beside", () => {
    for (const [last, kind] of [
      [HERE, "local"],
      [BARE, "plain"],
    ] as const) {
      const { call, becomes, found } = scene([beside(1), last]);
      becomes("agent-1", "away");
      call();
      expect(found).toEqual([kind]);
    }
  });

  it("asks an agent once, however many endpoints it stands beside", () => {
    const many = Array.from({ length: 5_000 }, () => beside(1));
    const { call, becomes, asked, found } = scene([...many, beside(2)]);
    becomes("agent-1", "away");
    call();
    expect(asked).toEqual(["agent-1", "agent-2"]);
    becomes("agent-2", "ready");
    expect(found).toEqual(["agent-2"]);
  });

  it("waits two seconds for agents that are all away, and takes one that comes back", () => {
    const { call, becomes, found } = scene([beside(1), beside(2)]);
    becomes("agent-1", "away");
    becomes("agent-2", "away");
    call();
    call();
    vi.advanceTimersByTime(1_000);
    becomes("agent-2", "ready");
    expect(found).toEqual(["agent-2", "agent-2"]);
    becomes("agent-2", "away");
    call();
    vi.advanceTimersByTime(1_999);
    expect(found).toHaveLength(2);
    vi.advanceTimersByTime(1);
    expect(found.at(-1)).toBe("none");
  });

  it("asks six agents at the most", () => {
    const endpoints = Array.from({ length: 20 }, (_, node) => beside(node));
    const { call, becomes, asked, found } = scene(endpoints);
    for (const { agent = "" } of endpoints) becomes(agent, "away");
    call();
    expect(asked).toHaveLength(6);
    vi.advanceTimersByTime(2_000);
    expect(found).toEqual(["none"]);
  });

  it("is over when the caller has hung up", () => {
    const { call, becomes, hangUp, found, listeners } = scene([beside(1), beside(2)]);
    call();
    hangUp();
    becomes("agent-1", "ready");
    expect(found).toEqual([]);
    expect(listeners.size).toBe(0);
  });
});

describe("the order in which endpoints are tried", () => {
  const randoms =
    (...values: number[]) =>
    () =>
      values.shift() ?? 0;
  const order = (
    endpoints: readonly MeshEndpoint[],
    { isStrict = false, away = [] as readonly string[], random = randoms(0.1, 0.9, 0.5) } = {},
  ) =>
    tryingOrder(endpoints, { isStrict, isAway: (agent) => away.includes(agent), random }).map(
      ({ address }) => address,
    );

  it("is that of chance among those that may answer, known ready or not", () => {
    expect(order([beside(1), HERE, beside(2)])).toEqual(["10.0.1.1:80", "10.0.2.1:80", "10.0.0.1:80"]);
  });

  it("has those beside an agent that is away last, whatever chance says", () => {
    expect(order([beside(1), HERE, beside(2)], { away: ["agent-1"] })).toEqual([
      "10.0.2.1:80",
      "10.0.0.1:80",
      "10.0.1.1:80",
    ]);
  });

  it("never has one in it that a strict namespace would have called plainly", () => {
    expect(order([beside(1), BARE, HERE], { isStrict: true })).toEqual(["10.0.1.1:80", "10.0.0.1:80"]);
    expect(order([BARE], { isStrict: true })).toEqual([]);
    expect(order([BARE])).toEqual(["10.0.9.1:80"]);
  });
});
