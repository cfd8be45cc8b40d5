import type { Clock, Timer } from "./clock.ts";

/**
 * Leaving without a failed request: after SIGTERM the process still accepts for a moment (its successor binds the same
 * port meanwhile), then only finishes what it has, then ends. SIGINT, or a second SIGTERM, ends it at once.
 */
export type ShutdownState =
  | { readonly kind: "running" }
  | { readonly kind: "lame_duck"; readonly untilMs: number }
  | { readonly kind: "draining"; readonly untilMs: number }
  | { readonly kind: "stopped" };

/** `tick`: the state's timer ran. It is not compared with the clock, which may have been set back meanwhile. */
/** `relieved`: the successor serves, so there is no reason to go on accepting. */
export type ShutdownEvent = "sigterm" | "sigint" | "relieved" | "tick" | "drained";

export interface ShutdownTimes {
  readonly lameDuckMs: number;
  readonly drainMs: number;
}

/** One second: nobody tells when others have noticed, and most notice within it. */
export const LAME_DUCK_MS = 1000;

/** Under a supervisor, which says when the successor serves: a bound for the case that it never does. */
export const SUPERVISED_LAME_DUCK_MS = 10_000;

export const RUNNING: ShutdownState = { kind: "running" };
const STOPPED: ShutdownState = { kind: "stopped" };

export function transition(
  state: ShutdownState,
  event: ShutdownEvent,
  now: number,
  times: ShutdownTimes,
): ShutdownState {
  if (event === "sigint" && state.kind !== "stopped") return STOPPED;
  switch (state.kind) {
    case "running": // => lame_duck | stopped
      return event === "sigterm" ? { kind: "lame_duck", untilMs: now + times.lameDuckMs } : state;
    case "lame_duck": // => draining | stopped
      if (event === "sigterm") return STOPPED;
      // A tick is the timer's word that its time has come; the clock may say a little less, and may have been set back.
      return event === "tick" || event === "relieved"
        ? { kind: "draining", untilMs: now + times.drainMs }
        : state;
    case "draining": // => stopped
      return event === "relieved" ? state : STOPPED;
    case "stopped":
      return state;
  }
}

export interface ShutdownEffects {
  /** SIGTERM came: still accepting. Tell the supervisor and stop looking ready. */
  lameDuck(): void;
  /** Stop accepting; resolves when the last request is finished. */
  drain(): Promise<void>;
  /** End the process. Runs once. */
  stop(state: { readonly drained: boolean }): void;
}

export interface Shutdown {
  readonly state: ShutdownState;
  handle(event: "sigterm" | "sigint" | "relieved"): void;
}

export function createShutdown(clock: Clock, times: ShutdownTimes, effects: ShutdownEffects): Shutdown {
  let state = RUNNING;
  let timer: Timer | undefined;
  const apply = (event: ShutdownEvent): void => {
    const previous = state;
    state = transition(previous, event, clock.now(), times);
    if (state !== previous) enter(state, event === "drained");
  };
  const wakeAt = (untilMs: number): void => {
    timer = clock.after(untilMs - clock.now(), () => apply("tick"));
  };
  const enter = (entered: ShutdownState, drained: boolean): void => {
    timer?.cancel();
    switch (entered.kind) {
      case "lame_duck":
        effects.lameDuck();
        return wakeAt(entered.untilMs);
      case "draining":
        wakeAt(entered.untilMs);
        // A drain that fails has nothing left to wait for.
        effects.drain().then(
          () => apply("drained"),
          () => apply("drained"),
        );
        return;
      case "stopped":
        return effects.stop({ drained });
      case "running":
        return;
    }
  };
  return {
    get state() {
      return state;
    },
    handle: apply,
  };
}

/** Binds a shutdown to the process's signals. */
export function onSignals(port: NodeJS.EventEmitter, shutdown: Shutdown): void {
  port.on("SIGTERM", () => shutdown.handle("sigterm"));
  port.on("SIGINT", () => shutdown.handle("sigint"));
}
