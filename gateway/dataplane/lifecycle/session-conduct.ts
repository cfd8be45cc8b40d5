import { type Problem, problem } from "../../../federation/model/problem.ts";

// All are counted in ticks of a second and not by the clock: a clock that steps must not cut a peer.
// Preface and SETTINGS come with the first flight after the handshake.
const GREETING_TICKS = 5;
// Our diallers PING every second: who says nothing for this long is gone, whatever streams it left behind.
const SILENT_TICKS = 30;
// Good peers judge by the same rules before they ask, so refusals are few, but for the moment in which a rule changes
// under load; a flood goes on.
const REFUSALS: Allowance = { burst: 4_096, perTick: 500 };
// PING and SETTINGS, which cost an answer each; but not the PING by which gRPC measures the way of each piece of data that comes
// when the one before is answered.
const CONTROLS: Allowance = { burst: 200, perTick: 20 };
// A workload crowd that leaves at once resets as many streams as a session may have; a flood goes on (CVE-2023-44487).
const RESETS: Allowance = { burst: 4_096, perTick: 500 };
// A workload's connection carries 250 streams, and there may be thousands of such connections: each earns what it may reset
// by requests that it let finish, beyond a client that gives up on a hundred a second.
const WORKLOAD_RESETS: Allowance = { burst: 500, perTick: 100 };
// Frames to no purpose: empty DATA, PRIORITY, unknown types, window updates of a few octets.
const IDLE_FRAMES: Allowance = { burst: 8_192, perTick: 2_000 };

interface Allowance {
  readonly burst: number;
  readonly perTick: number;
}

/** Whom a session is with: another of our processes, which PINGs every second, or a workload, which need not. */
export type SessionPeer = "tunnel" | "workload";

/** What a session remembers of its peer's conduct. Every question is answered with the reason to cut it, at most once. */
export class SessionConduct {
  readonly #peer: SessionPeer;
  #ticks = 0;
  #greeted = false;
  #quietTicks = 0;
  #refusals = REFUSALS.burst;
  #controls = CONTROLS.burst;
  readonly #resetting: Allowance;
  #resets: number;
  #idleFrames = IDLE_FRAMES.burst;
  #isOver = false;

  constructor(peer: SessionPeer) {
    this.#peer = peer;
    this.#resetting = peer === "tunnel" ? RESETS : WORKLOAD_RESETS;
    this.#resets = this.#resetting.burst;
  }

  /** One more reset is no offence: a workload let a request finish, or a service was asked and may have answered already. */
  allowReset(): void {
    if (this.#resets < this.#resetting.burst) this.#resets += 1;
  }

  /** What the connection noticed. Streams that the rules refused count as `stream-error` too. */
  notice(
    event: "control" | "measuring-ping" | "idle-frame" | "peer-reset" | "stream-error",
  ): Problem | undefined {
    switch (event) {
      case "measuring-ping":
        this.#quietTicks = 0;
        return undefined;
      case "control":
        this.#greeted = true;
        this.#quietTicks = 0;
        this.#controls -= 1;
        return this.#controls < 0 ? this.#over("a flood of PING or SETTINGS") : undefined;
      case "idle-frame":
        this.#idleFrames -= 1;
        return this.#idleFrames < 0 ? this.#over("a flood of frames to no purpose") : undefined;
      case "peer-reset":
        this.#resets -= 1;
        return this.#resets < 0 ? this.#over("a flood of RST_STREAM") : undefined;
      case "stream-error":
        this.#refusals -= 1;
        return this.#refusals < 0 ? this.#over("a flood of streams that are refused") : undefined;
    }
  }

  /** Ends it for another reason; `false` if it was over already. */
  end(): boolean {
    return this.#over("") !== undefined;
  }

  /** Once a second. */
  tick(): Problem | undefined {
    this.#ticks += 1;
    this.#quietTicks += 1;
    this.#refusals = Math.min(REFUSALS.burst, this.#refusals + REFUSALS.perTick);
    this.#controls = Math.min(CONTROLS.burst, this.#controls + CONTROLS.perTick);
    this.#resets = Math.min(this.#resetting.burst, this.#resets + this.#resetting.perTick);
    this.#idleFrames = Math.min(IDLE_FRAMES.burst, this.#idleFrames + IDLE_FRAMES.perTick);
    if (!this.#greeted && this.#ticks > GREETING_TICKS) return this.#over("no HTTP/2 greeting");
    return this.#peer === "tunnel" && this.#quietTicks > SILENT_TICKS
      ? this.#over(`no PING for ${SILENT_TICKS} s`)
      : undefined;
  }

  #over(detail: string): Problem | undefined {
    if (this.#isOver) return undefined;
    this.#isOver = true;
    return problem(this.#peer === "tunnel" ? "tunnel_abuse" : "http2_abuse", detail);
  }
}
