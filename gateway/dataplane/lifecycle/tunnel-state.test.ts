import { describe, expect, it } from "vitest";
import { type TunnelEvent, type TunnelState, transition } from "./tunnel-state.ts";

const NOW = 100_000;

const CONNECTING: TunnelState = { kind: "connecting", attempt: 3 };
const READY: TunnelState = { kind: "ready", sinceMs: NOW - 10_000 };
const FRESH: TunnelState = { kind: "ready", sinceMs: NOW - 4_999 };
const WAITING: TunnelState = { kind: "waiting", attempt: 2, untilMs: NOW, problem: "gateway_unreachable" };
const LATER: TunnelState = { ...WAITING, untilMs: NOW + 1 };
const CLOSED: TunnelState = { kind: "closed" };

const ESTABLISHED: TunnelEvent = { kind: "established" };
const LOST: TunnelEvent = { kind: "lost", problem: "peer_denied" };
const DRAINING: TunnelEvent = { kind: "draining" };
const TICK: TunnelEvent = { kind: "tick" };
const CLOSE: TunnelEvent = { kind: "close" };

const go = (state: TunnelState, event: TunnelEvent) => transition(state, event, NOW, 0);

describe("a tunnel's state", () => {
  it.each([
    ["connecting becomes ready when established", CONNECTING, ESTABLISHED, { kind: "ready", sinceMs: NOW }],
    [
      "connecting waits when lost, longer with every attempt",
      CONNECTING,
      LOST,
      { kind: "waiting", attempt: 3, untilMs: NOW + 200, problem: "peer_denied" },
    ],
    ["ready connects anew at once when the peer drains", READY, DRAINING, { kind: "connecting", attempt: 0 }],
    [
      "ready waits shortest when a healthy session is lost",
      READY,
      LOST,
      { kind: "waiting", attempt: 0, untilMs: NOW + 25, problem: "peer_denied" },
    ],
    [
      "ready waits longer when a session is lost that had hardly begun",
      FRESH,
      LOST,
      { kind: "waiting", attempt: 1, untilMs: NOW + 50, problem: "peer_denied" },
    ],
    [
      "waiting connects when its time has come, one attempt further",
      WAITING,
      TICK,
      { kind: "connecting", attempt: 3 },
    ],
    ["connecting closes", CONNECTING, CLOSE, CLOSED],
    ["ready closes", READY, CLOSE, CLOSED],
    ["waiting closes", WAITING, CLOSE, CLOSED],
  ] as const)("%s", (_what, state, event, next) => {
    expect(go(state, event)).toEqual(next);
  });

  it.each([
    ["connecting, draining", CONNECTING, DRAINING],
    ["connecting, tick", CONNECTING, TICK],
    ["ready, established", READY, ESTABLISHED],
    ["ready, tick", READY, TICK],
    ["waiting, established", WAITING, ESTABLISHED],
    ["waiting, lost", WAITING, LOST],
    ["waiting, draining", WAITING, DRAINING],
    ["waiting, tick before its time", LATER, TICK],
    ["closed, established", CLOSED, ESTABLISHED],
    ["closed, lost", CLOSED, LOST],
    ["closed, draining", CLOSED, DRAINING],
    ["closed, tick", CLOSED, TICK],
    ["closed, close", CLOSED, CLOSE],
  ] as const)("stays the same object on %s", (_what, state, event) => {
    expect(go(state, event)).toBe(state);
  });
});
