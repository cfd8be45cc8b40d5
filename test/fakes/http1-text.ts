import type { HeadOutcome } from "../../gateway/dataplane/http1/outcome.ts";
import { parseRequestHead, type RequestHead } from "../../gateway/dataplane/http1/request-head.ts";

/** Test support: request heads written as text. */
export function parse(text: string): HeadOutcome<RequestHead> {
  const buffer = Buffer.from(text, "latin1");
  return parseRequestHead(buffer, 0, buffer.length);
}

export function accepted(text: string): RequestHead {
  const outcome = parse(text);
  if (outcome.kind !== "head") throw new Error(`not a head: ${JSON.stringify(outcome)}`);
  return outcome.head;
}

/** A good request with these lines after Host. */
export function withFields(...lines: readonly string[]): string {
  return ["POST /a HTTP/1.1", "Host: cart.shop", ...lines, "", ""].join("\r\n");
}

export function withHost(host: string): string {
  return `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
}
