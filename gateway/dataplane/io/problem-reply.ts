import { STATUS_CODES } from "node:http";
import { type Problem, PROBLEMS } from "../../../federation/model/problem.ts";
import type { RedirectRequest } from "../routing/decide-request.ts";
import { TUNNEL_HEADER } from "./tunnel-settings.ts";

/** A refusal as a problem document (RFC 9457). */
export function problemDocument(reason: Problem, status: number): string {
  const { code, title, fix } = PROBLEMS[reason.name];
  return `${JSON.stringify({ type: `urn:isthmus:problem:${code}`, title, status, code, detail: reason.detail, fix })}\n`;
}

/** A refusal as an HTTP/1.1 response with a problem document (RFC 9457). */
export function renderProblem(
  reason: Problem,
  status: number,
  close: boolean,
  headOnly: boolean,
  retryAfterS: number | undefined = status === 503 ? 1 : undefined,
): string {
  const { code } = PROBLEMS[reason.name];
  const body = problemDocument(reason, status);
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Refused"}`,
    "content-type: application/problem+json",
    `content-length: ${Buffer.byteLength(body)}`,
    `${TUNNEL_HEADER.code}: ${code}`,
    "cache-control: no-store",
    ...(retryAfterS === undefined ? [] : [`retry-after: ${retryAfterS}`]),
    ...(close ? ["connection: close"] : []),
  ];
  return `${head.join("\r\n")}\r\n\r\n${headOnly ? "" : body}`;
}

/** A redirect that a rule asks for. */
export function renderRedirect({ status, location }: RedirectRequest, close: boolean): string {
  const end = close ? "connection: close\r\n\r\n" : "\r\n";
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Redirect"}\r\nlocation: ${location}\r\ncontent-length: 0\r\n${end}`;
}

/** A gRPC response without messages; the detail is percent-encoded (gRPC over HTTP/2, Status-Message). */
export function renderGrpcStatus(code: number, detail: string, close: boolean): string {
  const message = encodeURIComponent(detail);
  const end = close ? "connection: close\r\n\r\n" : "\r\n";
  return `HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: ${code}\r\ngrpc-message: ${message}\r\ncontent-length: 0\r\n${end}`;
}

/** The reason phrase of a status, for an answer that came without one. */
export function statusWord(status: number): string {
  return STATUS_CODES[status] ?? "";
}
