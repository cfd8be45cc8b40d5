import { type Problem, PROBLEMS } from "../../../federation/model/problem.ts";
import { ErrorCode } from "../http2/error-code.ts";
import type { Stream } from "../http2/stream.ts";
import { grpcMessage, grpcStatusOf } from "../policy/grpc.ts";
import { localReply } from "../policy/local-reply.ts";
import { STALLED_READER_MS } from "./client-patience.ts";
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

/**
 * Ends an answer that has begun and must not look whole. `code`: of RST_STREAM, where the service or the client is the cause; else a
 * gRPC client hears why in trailers.
 */
export function breakOff(asking: Stream, isGrpc: boolean, reason: Problem, code?: number): void {
  const isMisleading = code === ErrorCode.noError || code === ErrorCode.refusedStream;
  const cut = isMisleading ? ErrorCode.internalError : (code ?? ErrorCode.cancel);
  if (!isGrpc || code !== undefined) return asking.reset(cut);
  asking.end(grpcTrailers(reason, grpcStatusOf(localReply(reason.name).http, reason.name)));
  // One that does not read what came before does not keep the stream for it.
  if (!asking.isClosed && asking.pendingBytes > 0)
    setTimeout(() => asking.reset(cut), STALLED_READER_MS).unref();
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
