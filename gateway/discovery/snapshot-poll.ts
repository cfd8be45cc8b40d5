import { type Problem, PROBLEMS } from "../../federation/model/problem.ts";
import { type Backoff, retryDelayMs } from "../dataplane/lifecycle/backoff.ts";

/** The conversation with the registry about snapshots, as data: what we are doing, and what is known. */
export interface PollState {
  readonly phase:
    | { readonly kind: "asking"; readonly sinceMs: number }
    | { readonly kind: "waiting"; readonly untilMs: number };
  /** In a row. */
  readonly failures: number;
  /** Whether the last exchange was complete and well-formed. */
  readonly connected: boolean;
  readonly lastContactMs?: number;
  /** Of the snapshot in force. */
  readonly revision?: number;
  /** Why the newest snapshot is not in force; absent while it is. */
  readonly refusal?: Problem;
  readonly lastError?: Problem;
}

export type PollEvent =
  /** The snapshot in force is the newest. */
  | { readonly kind: "unchanged" }
  | { readonly kind: "accepted"; readonly revision: number }
  | { readonly kind: "refused"; readonly problem: Problem }
  /** No usable answer. `denied`: an answer, but one that trying again soon does not change. */
  | {
      readonly kind: "failed";
      readonly problem: Problem;
      readonly denied: boolean;
      /** The registry asked to be left alone for so long. */
      readonly retryAfterMs?: number;
    }
  /** The timer of the waiting phase ran. It is not compared with the clock, which may have been set back meanwhile. */
  | { readonly kind: "tick" };

export interface PollTimes {
  /** After failures that may be over any moment: a returned registry is noticed within this. */
  readonly soon: Backoff;
  /** After answers that say no. */
  readonly later: Backoff;
  /** A registry that does not wait is asked no more often than this. */
  readonly intervalMs: number;
}

export const POLL_TIMES: PollTimes = {
  soon: { baseMs: 100, capMs: 1000 },
  later: { baseMs: 500, capMs: 5000 },
  intervalMs: 5000,
};

export function initialPoll(now: number, revision: number | undefined): PollState {
  const base = { phase: { kind: "asking", sinceMs: now }, failures: 0, connected: false } as const;
  return revision === undefined ? base : { ...base, revision };
}

export function transition(
  state: PollState,
  event: PollEvent,
  now: number,
  jitter: number,
  times: PollTimes = POLL_TIMES,
): PollState {
  const { phase } = state;
  if (phase.kind === "waiting") {
    // => asking. Answers belong to a question: none is open.
    return event.kind === "tick" ? { ...state, phase: { kind: "asking", sinceMs: now } } : state;
  }
  switch (event.kind) {
    case "tick":
      return state;
    case "unchanged": // => asking | waiting
      return inForce(state, state.revision, askAgain(state, phase.sinceMs, now, jitter, times), now);
    case "accepted": {
      // => asking | waiting. Sent again what we have: it did not compare our ETag, so it must not be asked in a circle.
      const news = event.revision !== state.revision;
      const next = news
        ? { kind: "asking" as const, sinceMs: now }
        : askAgain(state, phase.sinceMs, now, jitter, times);
      return inForce(state, event.revision, next, now);
    }
    case "refused": // => waiting
      return {
        ...state,
        phase: waitAfter(state.failures + 1, now, jitter, times.later),
        failures: state.failures + 1,
        connected: true,
        lastContactMs: now,
        refusal: event.problem,
        lastError: event.problem,
      };
    case "failed": // => waiting
      return {
        ...state,
        phase: waitAfter(
          state.failures + 1,
          now,
          jitter,
          event.denied ? times.later : times.soon,
          event.retryAfterMs,
        ),
        failures: state.failures + 1,
        connected: false,
        lastError: event.problem,
      };
  }
}

/** Until all is well, an answer at once is the news: is the registry there, and does it now have a snapshot for us? */
export function mayWait({ connected, refusal }: PollState): boolean {
  return connected && refusal === undefined;
}

function inForce(
  state: PollState,
  revision: number | undefined,
  phase: PollState["phase"],
  now: number,
): PollState {
  const base = { phase, failures: 0, connected: true, lastContactMs: now };
  return revision === undefined ? base : { ...base, revision };
}

function askAgain(
  state: PollState,
  sinceMs: number,
  now: number,
  jitter: number,
  { intervalMs }: PollTimes,
): PollState["phase"] {
  // The question that was just answered did not ask to wait: the next one does.
  if (!mayWait(state) || now - sinceMs >= intervalMs) return { kind: "asking", sinceMs: now };
  return { kind: "waiting", untilMs: now + intervalMs / 2 + (intervalMs / 2) * jitter };
}

function waitAfter(
  failures: number,
  now: number,
  jitter: number,
  backoff: Backoff,
  retryAfterMs?: number,
): PollState["phase"] {
  return { kind: "waiting", untilMs: now + retryDelayMs(failures, jitter, backoff, retryAfterMs) };
}

/** What others want to know of the state. */
export interface SnapshotSourceStatus {
  readonly connected: boolean;
  /** Last complete, well-formed answer of the registry. */
  readonly lastContactMs?: number;
  readonly revision?: number;
  /** The code of the refusal, while the newest snapshot is refused. */
  readonly refusedCode?: string;
  /** Of the last exchange, if it failed. */
  readonly lastError?: { readonly code: string; readonly detail: string };
}

export function statusOf({
  connected,
  lastContactMs,
  revision,
  refusal,
  lastError,
}: PollState): SnapshotSourceStatus {
  return {
    connected,
    ...(lastContactMs === undefined ? {} : { lastContactMs }),
    ...(revision === undefined ? {} : { revision }),
    ...(refusal === undefined ? {} : { refusedCode: PROBLEMS[refusal.name].code }),
    ...(lastError === undefined
      ? {}
      : { lastError: { code: PROBLEMS[lastError.name].code, detail: lastError.detail } }),
  };
}
