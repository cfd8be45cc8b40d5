import type { ProblemName } from "../../../federation/model/problem.ts";
import type { FailureClass } from "../../../federation/model/traffic-route.ts";
import type { CompiledRetry } from "../routing/compile-rule.ts";

const FAILURE_CLASSES: { readonly [N in ProblemName]?: FailureClass } = {
  draining: "refused-stream",
  gateway_unreachable: "connect-failure",
  endpoint_unreachable: "connect-failure",
  no_endpoint: "connect-failure",
  overloaded: "connect-failure",
  circuit_open: "connect-failure",
  upstream_reset: "reset",
  upstream_timeout: "timeout",
};

/** Which class of failure a problem is; `undefined` for those that another try would meet as well. */
export function failureClass(name: ProblemName): FailureClass | undefined {
  return FAILURE_CLASSES[name];
}

/** Nothing of the request was executed: any method may be repeated. */
export function isUntouched(failure: FailureClass): boolean {
  return failure === "connect-failure" || failure === "refused-stream";
}

/** RFC 9110 §9.2.2. */
export function isIdempotent(method: string): boolean {
  return (
    method === "GET" || method === "HEAD" || method === "OPTIONS" || method === "PUT" || method === "DELETE"
  );
}

/** Whether what may have been executed may be sent again, by its method or by the rule. */
export function mayRepeat(retry: CompiledRetry, method: string): boolean {
  return isIdempotent(method) || retry.methods.has(method);
}

// Pauses stop growing here.
const MAX_BACKOFF_MS = 10_000;

/** Full jitter over an exponentially growing pause: `retry` counts from 1. */
export function retryPauseMs({ backoffMs }: CompiledRetry, retry: number, random: number): number {
  return Math.min(MAX_BACKOFF_MS, backoffMs * 2 ** (retry - 1)) * random;
}
