import { type Problem, PROBLEMS } from "../../../federation/model/problem.ts";
import { grpcMessage } from "../policy/grpc.ts";
import { TUNNEL_HEADER } from "./tunnel-settings.ts";

/** A trailers-only answer. */
export function grpcRefusal(reason: Problem, grpcStatus: number): readonly string[] {
  return [":status", "200", "content-type", "application/grpc", ...grpcTrailers(reason, grpcStatus)];
}

/** How an answer ends that has begun. */
export function grpcTrailers(reason: Problem, grpcStatus: number): readonly string[] {
  const { code, title } = PROBLEMS[reason.name];
  return [
    "grpc-status",
    String(grpcStatus),
    "grpc-message",
    grpcMessage(`${code} ${title}: ${reason.detail}`),
    TUNNEL_HEADER.code,
    code,
  ];
}

export function refusalFields(
  reason: Problem,
  http: number,
  length: number,
  retryAfterS = http === 503 ? 1 : undefined,
): readonly string[] {
  const fields = [
    "content-type",
    "application/problem+json",
    "content-length",
    String(length),
    TUNNEL_HEADER.code,
    PROBLEMS[reason.name].code,
    "cache-control",
    "no-store",
  ];
  if (retryAfterS !== undefined) fields.push("retry-after", String(retryAfterS));
  return fields;
}
