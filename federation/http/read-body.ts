import type { Context } from "hono";
import type * as z from "zod";
import type { Issue } from "../model/problem.ts";
import { MAX_REQUEST_BYTES } from "../model/wire/api.ts";
import { decode } from "../model/wire/decode.ts";
import { isNestedDeeper } from "./json-depth.ts";
import { problemError } from "./problem-error.ts";

/** Ours go nine deep. */
const MAX_DEPTH = 64;
const NOTHING = new Uint8Array();

/** The body's bytes, counted as they come: a length that is declared may be a lie, or missing. */
export async function readBody(c: Context, maxBytes = MAX_REQUEST_BYTES): Promise<Uint8Array> {
  if (Number(c.req.header("content-length") ?? "0") > maxBytes) throw tooLarge(maxBytes);
  const stream = c.req.raw.body;
  if (stream === null) return NOTHING;
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader: ReadableStreamDefaultReader<Uint8Array> = stream.getReader();
  const next = () => reader.read().catch(cutShort);
  for (let part = await next(); !part.done; part = await next()) {
    length += part.value.length;
    if (length > maxBytes) {
      await reader.cancel();
      throw tooLarge(maxBytes);
    }
    chunks.push(part.value);
  }
  return concatenate(chunks, length);
}

/** The connection ended in the middle of the body: nobody is there to read an answer, and it is no fault of ours. */
function cutShort(): never {
  throw problemError("request_invalid", "the body ended early");
}

function concatenate(chunks: readonly Uint8Array[], length: number): Uint8Array {
  const [first] = chunks;
  if (first !== undefined && chunks.length === 1) return first;
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.length;
  }
  return whole;
}

function tooLarge(maxBytes: number) {
  return problemError("request_too_large", `the body has more than ${maxBytes} bytes`);
}

/** The body as the schema wants it; otherwise every mistake at once. */
export function decodeBody<T>(c: Context, body: Uint8Array, schema: z.ZodType<T>): T {
  const type = c.req.header("content-type") ?? "";
  if (!/^application\/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?$/i.test(type)) {
    throw problemError(
      "unsupported_media",
      type === "" ? "there is no content-type" : `it is "${type.slice(0, 80)}"`,
    );
  }
  const decoded = decode(schema, parseJson(body));
  if (decoded.ok) return decoded.value;
  throw problemError("request_invalid", summary(decoded.error), decoded.error);
}

function parseJson(body: Uint8Array): unknown {
  if (isNestedDeeper(body, MAX_DEPTH))
    throw problemError("request_invalid", `the body is nested deeper than ${MAX_DEPTH} levels`);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch (cause) {
    const reason = cause instanceof SyntaxError ? withoutExcerpt(cause.message) : "it is not UTF-8";
    throw problemError("request_invalid", `the body is not JSON: ${reason.slice(0, 200)}`);
  }
}

/** `Unexpected token 'x', ..."excerpt"... is not valid JSON`: bodies hold join tokens, and this text is logged. */
function withoutExcerpt(message: string): string {
  return message.replace(/^(Unexpected token).*$/s, "$1");
}

export function summary(issues: readonly Issue[]): string {
  const [first] = issues;
  if (first === undefined) return "the request is not understood";
  const one = first.path === "" ? first.message : `${first.path}: ${first.message}`;
  return issues.length === 1 ? one : `${one}; and ${issues.length - 1} more`;
}
