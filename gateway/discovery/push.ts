import type { Clock, Random, Timer } from "../process/clock.ts";
import { type Backoff, retryDelayMs } from "../dataplane/lifecycle/backoff.ts";

/**
 * Keeps one remote document equal to what we have: one write at a time, changes gathered for a moment, failures backed
 * off, and a heartbeat where the other side wants one.
 */
export interface PushState {
  /** When to write next; absent: nothing to say. Never set while a write is under way. */
  readonly dueMs?: number;
  readonly sending: boolean;
  /** Something changed while a write was under way. */
  readonly stale: boolean;
  /** In a row. */
  readonly failures: number;
}

export type PushEvent =
  | "changed"
  | "reconnected"
  | "due"
  | "sent"
  | "failed"
  /** Failed, and the other side said how long it wants to be left alone. */
  | { readonly retryAfterMs: number };

export interface PushTimes {
  readonly gatherMs: number;
  readonly heartbeatMs?: number;
  readonly backoff: Backoff;
}

export const IDLE: PushState = { sending: false, stale: false, failures: 0 };

export function transition(
  state: PushState,
  event: PushEvent,
  now: number,
  jitter: number,
  { gatherMs, heartbeatMs, backoff }: PushTimes,
): PushState {
  const again = (retryAfterMs?: number): PushState => {
    if (!state.sending) return state;
    const failures = state.failures + 1;
    const dueMs = now + retryDelayMs(failures, jitter, backoff, retryAfterMs);
    return { sending: false, stale: false, failures, dueMs };
  };
  if (typeof event === "object") return again(event.retryAfterMs);
  switch (event) {
    case "changed":
      if (state.sending) return state.stale ? state : { ...state, stale: true };
      // While it fails, the back-off decides: changes must not hammer a registry that is down.
      if (state.failures > 0 || (state.dueMs !== undefined && state.dueMs <= now + gatherMs)) return state;
      return { ...state, dueMs: now + gatherMs };
    case "reconnected":
      return state.sending ? { ...state, stale: true } : { ...state, failures: 0, dueMs: now };
    case "due":
      // Not compared with the clock, which may have been set back since the timer was set.
      if (state.sending || state.dueMs === undefined) return state;
      return { sending: true, stale: false, failures: state.failures };
    case "sent": {
      if (!state.sending) return state;
      if (state.stale) return { ...IDLE, dueMs: now + gatherMs };
      // A tenth of jitter, so that heartbeats of a fleet do not stay in step.
      return heartbeatMs === undefined ? IDLE : { ...IDLE, dueMs: now + heartbeatMs * (0.95 + 0.1 * jitter) };
    }
    case "failed":
      return again();
  }
}

export interface Push {
  changed(): void;
  /** The registry answers again: whatever it may have missed is due now. */
  reconnected(): void;
  stop(): void;
}

/** Whether the other side took it; where not, perhaps how long it wants to be left alone. */
export type PushAnswer = boolean | { readonly retryAfterMs: number };

/** `send` never rejects. */
export function createPush(
  clock: Clock,
  random: Random,
  times: PushTimes,
  send: () => Promise<PushAnswer>,
): Push {
  let state = IDLE;
  let timer: Timer | undefined;
  let stopped = false;
  const apply = (event: PushEvent): void => {
    const previous = state;
    state = transition(previous, event, clock.now(), random(), times);
    if (state === previous || stopped) return;
    timer?.cancel();
    if (state.sending && !previous.sending) {
      send().then(
        (taken) => apply(taken === true ? "sent" : taken === false ? "failed" : taken),
        () => apply("failed"),
      );
    } else if (state.dueMs !== undefined) {
      timer = clock.after(state.dueMs - clock.now(), () => apply("due"));
    }
  };
  return {
    changed: () => apply("changed"),
    reconnected: () => apply("reconnected"),
    stop() {
      stopped = true;
      timer?.cancel();
    },
  };
}
