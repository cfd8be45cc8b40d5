import { Buffer } from "node:buffer";

/** A response as a client of our own reads it from a socket. */
export interface WireResponse {
  readonly status: number;
  /** Lower-case names; of repeated fields the last one. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

export function addressOf(text: string): Address {
  const colon = text.lastIndexOf(":");
  return { host: text.slice(0, colon), port: Number(text.slice(colon + 1)) };
}

const HEAD_END = Buffer.from("\r\n\r\n");

/** Reads one response with a Content-Length from the front; `undefined` while it is not complete. */
export function readResponse(bytes: Buffer): { response: WireResponse; rest: Buffer } | undefined {
  const end = bytes.indexOf(HEAD_END);
  if (end === -1) return undefined;
  const [statusLine = "", ...lines] = bytes.toString("latin1", 0, end).split("\r\n");
  const headers = new Map(
    lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
    }),
  );
  const from = end + HEAD_END.length;
  const to = from + Number(headers.get("content-length") ?? "0");
  if (bytes.length < to) return undefined;
  const response = {
    status: Number(statusLine.split(" ")[1]),
    headers,
    body: bytes.toString("utf8", from, to),
  };
  return { response, rest: bytes.subarray(to) };
}
