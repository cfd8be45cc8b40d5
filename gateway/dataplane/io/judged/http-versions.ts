import { DEFAULT_CHUNKED_LIMITS, readTrailers } from "../../http1/chunked-lines.ts";
import type { BodyFraming } from "../../http1/framing.ts";
import { NO_BODY, UNTIL_CLOSE } from "../../http1/framing.ts";
import { isKept } from "../../http2/kept-fields.ts";
import { statusWord } from "../problem-reply.ts";
import type { ResponseHead } from "../../http1/response-head.ts";

// RFC 9113 §8.2.2: what belongs to one HTTP/1.1 connection has no place in HTTP/2.
const LEFT_OUT = new Set([
  "host",
  "connection",
  "transfer-encoding",
  "upgrade",
  "keep-alive",
  "proxy-connection",
]);

/** A judged HTTP/1.1 request head, without its final empty line, as the fields of an HTTP/2 request. */
export function requestFields(head: string, scheme: string): string[] {
  const lines = head.split("\r\n");
  const [method = "", path = ""] = (lines[0] ?? "").split(" ");
  const fields = [":method", method, ":scheme", scheme, ":authority", "", ":path", path];
  for (let index = 1; index < lines.length; index++) {
    const [name, value] = fieldOf(lines[index] ?? "");
    if (name === "host") fields[5] = value;
    if (name !== "" && !LEFT_OUT.has(name)) fields.push(name, value);
  }
  return fields;
}

function fieldOf(line: string): readonly [name: string, value: string] {
  const colon = line.indexOf(":");
  return colon < 1 ? ["", ""] : [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
}

/** The trailer section that a chunked request ended with, as the fields of an HTTP/2 one. */
export function trailerFields(section: string): readonly string[] {
  return section.split("\r\n").flatMap((line) => (line === "" ? [] : fieldOf(line)));
}

/** HTTP/2 trailers as the end of a chunked body: of the fields, those that a chunked body of the host itself might end with. */
export function lastChunk(trailers: readonly string[] | undefined): string {
  if (trailers === undefined) return "0\r\n\r\n";
  let section = "";
  for (let at = 0; at + 1 < trailers.length; at += 2) section += `${trailers[at]}: ${trailers[at + 1]}\r\n`;
  const judged =
    section.length > DEFAULT_CHUNKED_LIMITS.trailerBytes
      ? undefined
      : readTrailers(`${section}\r\n`, DEFAULT_CHUNKED_LIMITS);
  return `0\r\n${judged?.ok === true ? judged.value : ""}\r\n`;
}

/** An HTTP/2 response head as HTTP/1.1 would have it. `ended`: no content follows. */
export function responseHead(
  fields: readonly string[],
  ended: boolean,
  request: { readonly method: string; readonly minor: 0 | 1 },
): ResponseHead {
  const isPlain = !ended && request.method !== "HEAD" && request.minor === 1;
  const known = isPlain ? PLAIN_HEADS.get(fields) : undefined;
  if (known !== undefined) return known;
  const head = makeResponseHead(fields, ended, request);
  if (!isPlain || !isKept(fields)) return head;
  const kept = { ...head, wire: Buffer.from(`${head.forwardable}\r\n`, "latin1") };
  PLAIN_HEADS.set(fields, kept);
  return kept;
}

/** Heads of answers with a body to clients of HTTP/1.1, where the same fields came before. */
const PLAIN_HEADS = new WeakMap<readonly string[], ResponseHead>();

function makeResponseHead(
  fields: readonly string[],
  ended: boolean,
  request: { readonly method: string; readonly minor: 0 | 1 },
): ResponseHead {
  const status = Number(fields[1]);
  let text = `HTTP/1.1 ${status} ${statusWord(status)}\r\n`;
  let length: number | undefined;
  for (let at = 2; at + 1 < fields.length; at += 2) {
    const name = fields[at] ?? "";
    const value = fields[at + 1] ?? "";
    if (name === "content-length") length = Number(value);
    text += `${name}: ${value}\r\n`;
  }
  const bodyless = status < 200 || status === 204 || status === 304 || request.method === "HEAD";
  const body = bodyless ? NO_BODY : framingOf(length, ended, request.minor);
  if (!bodyless && length === undefined) {
    if (body.kind === "length" && request.minor === 1) text += "content-length: 0\r\n";
    else if (body.kind === "chunked") text += "transfer-encoding: chunked\r\n";
  }
  return {
    status,
    minor: 1,
    body,
    keepAlive: true,
    interim: status < 200,
    upgrade: undefined,
    forwardable: text,
    received: text,
    byteLength: 0,
  };
}

function framingOf(length: number | undefined, ended: boolean, minor: 0 | 1): BodyFraming {
  if (length !== undefined) return { kind: "length", length };
  if (ended) return { kind: "length", length: 0 };
  return minor === 1 ? { kind: "chunked" } : UNTIL_CLOSE;
}

/** An HTTP/2 request's fields as HTTP/1.1 writes a head, whole. `ended`: no content follows. */
export function headText(fields: readonly string[], authority: string, ended: boolean): string {
  let [method, path, rest, cookie] = ["", "", "", ""];
  let hasLength = false;
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const name = fields[at] ?? "";
    const value = fields[at + 1] ?? "";
    if (name === ":method") method = value;
    else if (name === ":path") path = value;
    else if (name === "cookie") cookie += cookie === "" ? value : `; ${value}`;
    else if (name.charCodeAt(0) !== 0x3a && !LEFT_OUT.has(name)) {
      hasLength ||= name === "content-length";
      rest += `${name}: ${value}\r\n`;
    }
  }
  if (cookie !== "") rest += `cookie: ${cookie}\r\n`;
  if (!ended && !hasLength) rest += "transfer-encoding: chunked\r\n";
  return `${method} ${path} HTTP/1.1\r\nhost: ${authority}\r\n${rest}\r\n`;
}

/** An answer's head, without its final empty line, as HTTP/2 writes it. */
export function responseFields(head: string): readonly string[] {
  const [line = "", ...lines] = head.split("\r\n");
  const fields = [":status", line.split(" ")[1] ?? ""];
  for (const line of lines) {
    const [name, value] = fieldOf(line);
    if (name !== "" && !LEFT_OUT.has(name)) fields.push(name, value);
  }
  return fields;
}

/** HTTP/2 trailers, one line each. */
export function trailerText(fields: readonly string[]): string {
  let text = "";
  for (let at = 0; at + 1 < fields.length; at += 2) text += `${fields[at]}: ${fields[at + 1]}\r\n`;
  return text;
}
