import { type Problem, problem } from "../../../federation/model/problem.ts";
import type { EntryForward } from "../routing/decide.ts";
import type { CanaryMeter } from "./canary-meter.ts";
import type { DestinationGuard } from "./destination-guard.ts";
import type { EntryGuard } from "./entry-guard.ts";

/** One request on its way to a target: told of every attempt's end, and in the end returned. */
export interface Ticket {
  /** The head of an answer came that only its trailers tell the worth of. */
  began(): void;
  answered(status: number, endpoint: string | undefined): void;
  failed(reason: Problem, endpoint: string | undefined): void;
  /** Whether the service's retry budget allows one more try, which is counted; beside the rule's own. */
  mayRetry(): boolean;
  /** The exchange is over, however it went. Only the first call counts. */
  leave(): void;
  /** It goes on elsewhere: nothing is measured of it here. */
  moved(): void;
}

/** Where no rule wants to know. */
export const NO_TICKET: Ticket = {
  began() {},
  answered() {},
  failed() {},
  mayRetry: () => true,
  leave() {},
  moved() {},
};

/** What a hop said about itself or the way, not what an endpoint did. */
const NOT_ITS_FAULT: ReadonlySet<Problem["name"]> = new Set([
  "no_endpoint",
  "endpoint_unreachable",
  "gateway_unreachable",
  "overloaded",
  "draining",
  "export_denied",
  "not_exported",
  "egress_denied",
  "caller_token_invalid",
  "caller_token_expired",
]);

/** A ticket, or which bound of the circuit refuses it. */
export function ticketFor(guard: EntryGuard, target: EntryForward, now: () => number): Ticket | Problem {
  const destination = guard.destination(target);
  const bound = destination.brokenBound;
  if (bound !== undefined && destination.rule !== undefined) {
    const { name, observe } = destination.rule;
    const detail = `${bound} of BackendTrafficPolicy ${name}`;
    if (!observe) {
      guard.enforced(name, "circuit_open");
      return problem("circuit_open", detail);
    }
    guard.observed(name, "circuit_open", detail);
  }
  return new GuardedTicket(guard, target, destination, now);
}

class GuardedTicket implements Ticket {
  readonly #guard: EntryGuard;
  readonly #target: EntryForward;
  readonly #destination: DestinationGuard;
  readonly #now: () => number;
  readonly #canary: CanaryMeter | undefined;
  readonly #startedMs: number;
  /** When the head came of an answer that is not judged yet. */
  #begunMs: number | undefined;
  /** When the head of the last answer came. */
  #answeredMs: number | undefined;
  #endpoint: string | undefined;
  #outcome: "none" | "success" | "failure" = "none";
  #left = false;

  constructor(guard: EntryGuard, target: EntryForward, destination: DestinationGuard, now: () => number) {
    this.#guard = guard;
    this.#target = target;
    this.#destination = destination;
    this.#now = now;
    this.#canary = guard.canary(target);
    this.#startedMs = now();
    this.#destination.load.requests += 1;
    this.#destination.requested(this.#startedMs);
  }

  began(): void {
    this.#begunMs = this.#now();
  }

  answered(status: number, endpoint: string | undefined): void {
    this.#answeredMs = this.#begunMs ?? this.#now();
    this.#endpoint = endpoint;
    this.#outcome = status >= 500 ? "failure" : "success";
    if (this.#outcome === "failure") this.#judge(endpoint, "failure");
  }

  failed(reason: Problem, endpoint: string | undefined): void {
    this.#outcome = "failure";
    if (!NOT_ITS_FAULT.has(reason.name)) this.#judge(endpoint, "failure");
  }

  mayRetry(): boolean {
    if (this.#destination.hasRetryLeft(this.#now()) || this.#destination.rule === undefined) return true;
    const { name, observe } = this.#destination.rule;
    if (observe) this.#guard.observed(name, "retry_refused", "the budget for retries is spent");
    else this.#guard.enforced(name, "retry_refused");
    return observe;
  }

  leave(): void {
    if (this.#left) return;
    this.moved();
    // Only now: an answer that breaks off is none.
    if (this.#outcome === "success") this.#judge(this.#endpoint, "success");
    this.#measure();
  }

  moved(): void {
    this.#left = true;
    this.#destination.load.requests -= 1;
  }

  /** How it ended for the client: tries that were repeated do not count, nor does one who left before there was an answer. */
  #measure(): void {
    const headMs = this.#answeredMs ?? this.#begunMs;
    if (this.#canary === undefined || (this.#outcome === "none" && headMs === undefined)) return;
    const latencyMs = headMs === undefined ? undefined : headMs - this.#startedMs;
    this.#canary.record(this.#outcome === "failure", latencyMs);
  }

  #judge(endpoint: string | undefined, event: "success" | "failure"): void {
    if (!this.#destination.judges) return;
    const total = this.#guard.endpointsAt(this.#target);
    const ejected = this.#destination.judge(endpoint, event, this.#now(), total);
    if (!ejected || this.#destination.rule === undefined) return;
    const { name, observe } = this.#destination.rule;
    if (observe) this.#guard.observed(name, "ejected", `endpoint ${endpoint}`);
    else this.#guard.enforced(name, "ejected");
  }
}
