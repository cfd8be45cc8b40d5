import { type Context, isSpanContextValid, trace, TraceFlags } from "@opentelemetry/api";
import type { Sampler, SamplingResult } from "@opentelemetry/sdk-trace";

// A traced request costs some of what others share (streams of its own on every hop): enough to see a quiet system whole,
// and a rounding error of a busy one.
const NEW_TRACES_PER_SECOND = 10;
// Callers may ask for their requests to be traced; a crowd of them must not make every request a dear one.
const CALLERS_TRACES_PER_SECOND = 200;

const RECORD_AND_SAMPLED = 2;
const NOT_RECORD = 0;

/**
 * The sampler unless `OTEL_TRACES_SAMPLER` names another: what the caller decided holds, and of requests without a trace the
 * first few of every second are sampled.
 */
export class FewPerSecond implements Sampler {
  readonly #monotonicMs: () => number;
  readonly #own = { second: -1, taken: 0 };
  readonly #callers = { second: -1, taken: 0 };

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  shouldSample(context: Context): SamplingResult {
    const parent = trace.getSpanContext(context);
    if (parent === undefined || !isSpanContextValid(parent))
      return this.#take(this.#own, NEW_TRACES_PER_SECOND);
    if ((parent.traceFlags & TraceFlags.SAMPLED) === 0) return { decision: NOT_RECORD };
    return this.#take(this.#callers, CALLERS_TRACES_PER_SECOND);
  }

  toString(): string {
    return `FewPerSecond{${NEW_TRACES_PER_SECOND}}`;
  }

  #take(allowance: { second: number; taken: number }, most: number): SamplingResult {
    const second = Math.floor(this.#monotonicMs() / 1000);
    if (allowance.second !== second) {
      allowance.second = second;
      allowance.taken = 0;
    }
    if (allowance.taken >= most) return { decision: NOT_RECORD };
    allowance.taken += 1;
    return { decision: RECORD_AND_SAMPLED };
  }
}
