/**
 * When a role's process is started again: a pure transition, asked by the shell in `process-slot.ts`. Each start has its own
 * generation; news of an older one (a predecessor that finishes its drain) changes nothing.
 */
export type SlotState =
  | {
      readonly kind: "starting";
      readonly generation: number;
      readonly since: number;
      readonly delayMs: number;
    }
  | {
      readonly kind: "running";
      readonly generation: number;
      readonly since: number;
      readonly delayMs: number;
    }
  | {
      readonly kind: "waiting";
      readonly generation: number;
      readonly until: number;
      readonly delayMs: number;
    }
  | { readonly kind: "stopped"; readonly generation: number };

export type SlotEvent =
  | { readonly kind: "ready"; readonly generation: number }
  | { readonly kind: "draining"; readonly generation: number }
  | { readonly kind: "exited"; readonly generation: number }
  | { readonly kind: "tick" }
  | { readonly kind: "stop" };

export interface Backoff {
  readonly firstMs: number;
  readonly maxMs: number;
  /** A process that lived this long failed for a new reason: the next wait is the first one again. */
  readonly healthyMs: number;
}

export const BACKOFF: Backoff = { firstMs: 50, maxMs: 5000, healthyMs: 5000 };

export function firstStart(now: number, backoff: Backoff): SlotState {
  return { kind: "starting", generation: 1, since: now, delayMs: backoff.firstMs };
}

export function transition(state: SlotState, event: SlotEvent, now: number, backoff: Backoff): SlotState {
  if (state.kind === "stopped") return state;
  if (event.kind === "stop") return { kind: "stopped", generation: state.generation };
  if (event.kind === "tick") {
    return state.kind === "waiting" && now >= state.until ? startAgain(state, now, state.delayMs) : state;
  }
  if (event.generation !== state.generation || state.kind === "waiting") return state;
  switch (event.kind) {
    case "ready":
      return state.kind === "starting" ? { ...state, kind: "running", since: now } : state;
    case "draining": // Someone else asked it to end. It serves for a moment longer: its successor has to be there by then.
      return startAgain(state, now, backoff.firstMs);
    case "exited": {
      const lived = state.kind === "running" && now - state.since >= backoff.healthyMs;
      const waitMs = lived ? backoff.firstMs : state.delayMs;
      const delayMs = Math.min(waitMs * 2, backoff.maxMs);
      return { kind: "waiting", generation: state.generation, until: now + waitMs, delayMs };
    }
  }
}

function startAgain(state: SlotState, now: number, delayMs: number): SlotState {
  return { kind: "starting", generation: state.generation + 1, since: now, delayMs };
}
