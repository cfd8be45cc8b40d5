import type { ProblemName } from "../../../federation/model/problem.ts";
import { type Backoff, backoffMs } from "./backoff.ts";

/** The life of one tunnel to one address; effects (dial, close) belong to `io/tunnel.ts`. */
export type TunnelState =
  | { readonly kind: "connecting"; readonly attempt: number }
  | { readonly kind: "ready"; readonly sinceMs: number }
  | {
      readonly kind: "waiting";
      readonly attempt: number;
      readonly untilMs: number;
      readonly problem: ProblemName;
    }
  | { readonly kind: "closed" };

export type TunnelEvent =
  | { readonly kind: "established" }
  | { readonly kind: "lost"; readonly problem: ProblemName }
  /** The peer said GOAWAY: it serves what is under way and wants no more. */
  | { readonly kind: "draining" }
  | { readonly kind: "tick" }
  | { readonly kind: "close" };

// The first retry comes fast, since most losses are restarts; the cap keeps a returned peer's recovery under two seconds.
const BACKOFF: Backoff = { baseMs: 50, capMs: 1_000 };

// A session that lived this long was healthy: its loss starts the back-off anew.
const HEALTHY_MS = 5_000;

export function transition(s: TunnelState, e: TunnelEvent, now: number, random: number): TunnelState {
  if (e.kind === "close") return s.kind === "closed" ? s : { kind: "closed" };
  switch (s.kind) {
    case "connecting": // => ready | waiting
      if (e.kind === "established") return { kind: "ready", sinceMs: now };
      if (e.kind === "lost") return wait(s.attempt, e.problem, now, random);
      return s;
    case "ready": // => connecting | waiting
      if (e.kind === "draining") return { kind: "connecting", attempt: 0 };
      if (e.kind === "lost") return wait(now - s.sinceMs >= HEALTHY_MS ? 0 : 1, e.problem, now, random);
      return s;
    case "waiting": // => connecting
      return e.kind === "tick" && now >= s.untilMs ? { kind: "connecting", attempt: s.attempt + 1 } : s;
    case "closed":
      return s;
  }
}

function wait(attempt: number, problem: ProblemName, now: number, random: number): TunnelState {
  return { kind: "waiting", attempt, untilMs: now + backoffMs(attempt + 1, random, BACKOFF), problem };
}
