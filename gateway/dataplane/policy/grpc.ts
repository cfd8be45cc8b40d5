/** gRPC over HTTP/2, as far as a proxy has to know it (the protocol's PROTOCOL-HTTP2 document). */

import type { ProblemName } from "../../../federation/model/problem.ts";
import { GRPC_CODES, type GrpcCode } from "../../../federation/model/traffic-route.ts";

export function isGrpc(contentType: string | undefined): boolean {
  return (
    contentType?.startsWith("application/grpc") === true && !contentType.startsWith("application/grpc-web")
  );
}

/** Status codes a refusal can have. */
const GRPC = {
  unknown: 2,
  deadlineExceeded: 4,
  permissionDenied: 7,
  resourceExhausted: 8,
  aborted: 10,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

export const DEADLINE_EXCEEDED = GRPC.deadlineExceeded;

const BY_HTTP: ReadonlyMap<number, number> = new Map([
  [400, GRPC.internal],
  [401, GRPC.unauthenticated],
  [403, GRPC.permissionDenied],
  // As gRPC maps HTTP statuses, and as GRPCRoute has it where no rule fits.
  [404, GRPC.unimplemented],
  [407, GRPC.unauthenticated],
  [408, GRPC.deadlineExceeded],
  [429, GRPC.resourceExhausted],
  [431, GRPC.resourceExhausted],
  [502, GRPC.unavailable],
  [503, GRPC.unavailable],
  [504, GRPC.deadlineExceeded],
  [508, GRPC.aborted],
]);

/** What a gRPC client is told in place of the HTTP status that the table of local replies has. */
export function grpcStatusOf(http: number, reason?: ProblemName): number {
  // GRPCRoute's own word for a backend that is not there; HTTPRoute's is 500.
  if (reason === "route_backend_missing") return GRPC.unavailable;
  return BY_HTTP.get(http) ?? GRPC.unknown;
}

/** The server's own failures among the statuses of answers, and the HTTP status that says the same (google.rpc.Code). */
const FAILURES: ReadonlyMap<GrpcCode, number> = new Map([
  ["unknown", 500],
  ["deadline-exceeded", 504],
  ["unimplemented", 501],
  ["internal", 500],
  ["unavailable", 503],
  ["data-loss", 500],
]);

/** By the name of the status; clients take an answer without one for `unknown`. */
export function grpcCodeOf(grpcStatus: string | undefined): GrpcCode {
  return GRPC_CODES[Number(grpcStatus ?? NaN)] ?? "unknown";
}

/** What an answer is worth where answers are judged by their HTTP status: 200 unless the server failed. */
export function httpStatusOf(code: GrpcCode): number {
  return FAILURES.get(code) ?? 200;
}

/** `grpc-message`: printable ASCII but `%` as it is, everything else percent-encoded as UTF-8. */
export function grpcMessage(text: string): string {
  // Half a surrogate pair cannot be encoded.
  return encodeURI(text.replace(/\p{Surrogate}/gu, "\ufffd")).replaceAll("%20", " ");
}

const UNIT_MS: ReadonlyMap<string, number> = new Map([
  ["H", 3_600_000],
  ["M", 60_000],
  ["S", 1_000],
  ["m", 1],
  ["u", 1e-3],
  ["n", 1e-6],
]);

// Beyond what a timer takes a deadline is none: setTimeout would fire at once.
const MAX_TIMER_MS = 0x7fff_ffff;

/** Milliseconds of a `grpc-timeout` (at most eight digits and a unit); `undefined` for none, or one too long to matter. */
export function grpcTimeoutMs(value: string | undefined): number | undefined {
  if (value === undefined || !/^\d{1,8}[HMSmun]$/.test(value)) return undefined;
  const ms = Number(value.slice(0, -1)) * (UNIT_MS.get(value.slice(-1)) ?? 0);
  return ms > MAX_TIMER_MS ? undefined : ms;
}
