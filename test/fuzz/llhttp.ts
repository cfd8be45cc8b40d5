/**
 * Node's own HTTP/1 parser (llhttp, strict) as an independent judge. It is reached through an internal module, since
 * `node:http` itself hides where a message ended.
 */
import { createRequire } from "node:module";

interface NativeParser {
  [event: number]: unknown;
  initialize(type: number, resource: object, maxHeaderSize: number, lenient: number): void;
  execute(bytes: Buffer): number | (Error & { code: string; bytesParsed: number });
  close(): void;
}

interface NativeModule {
  readonly methods: readonly string[];
  readonly HTTPParser: {
    new (): NativeParser;
    readonly REQUEST: number;
    readonly RESPONSE: number;
    readonly kOnHeaders: number;
    readonly kOnHeadersComplete: number;
    readonly kOnBody: number;
    readonly kOnMessageComplete: number;
    readonly kLenientNone: number;
  };
}

const { HTTPParser, methods } = createRequire(import.meta.url)("node:_http_common") as NativeModule;

export const LLHTTP_METHODS: ReadonlySet<string> = new Set(methods);

export interface JudgedMessage {
  readonly minor: number;
  /** [name (lower case), value, …] */
  readonly fields: readonly string[];
  readonly method: string | undefined;
  readonly target: string;
  readonly status: number | undefined;
  readonly upgrade: boolean;
  readonly keepAlive: boolean;
  body: string;
  /** Trailers, as `fields`. */
  trailers: readonly string[];
  complete: boolean;
}

export interface Judgement {
  readonly messages: readonly JudgedMessage[];
  /** llhttp's code, when it refused. */
  readonly error: string | undefined;
}

// Above our own limit, so that size is never what the two disagree about.
const MAX_HEADER_BYTES = 128 * 1024;

export function judgeRequests(bytes: Buffer): Judgement {
  return judge(HTTPParser.REQUEST, bytes, false);
}

/** `bodyless`: the responses answer HEAD. */
export function judgeResponses(bytes: Buffer, bodyless: boolean): Judgement {
  return judge(HTTPParser.RESPONSE, bytes, bodyless);
}

function judge(type: number, bytes: Buffer, bodyless: boolean): Judgement {
  const parser = new HTTPParser();
  parser.initialize(type, {}, MAX_HEADER_BYTES, HTTPParser.kLenientNone);
  const messages: JudgedMessage[] = [];
  let fields: string[] = [];
  let target = "";
  parser[HTTPParser.kOnHeaders] = (more: string[], url: string): void => {
    fields.push(...more);
    target += url;
  };
  parser[HTTPParser.kOnHeadersComplete] = (...head: HeadEvent): number => {
    messages.push(judgedMessage(head, fields, target));
    fields = [];
    target = "";
    return bodyless ? 1 : 0;
  };
  parser[HTTPParser.kOnBody] = (chunk: Buffer): void => {
    const message = messages.at(-1);
    if (message !== undefined) message.body += chunk.toString("latin1");
  };
  parser[HTTPParser.kOnMessageComplete] = (): void => {
    const message = messages.at(-1);
    if (message === undefined) return;
    message.complete = true;
    message.trailers = lowerNames(fields);
    fields = [];
  };
  const outcome = parser.execute(bytes);
  // Without it the native half stays for ever, and 4,000,000 heads take more memory than there is.
  parser.close();
  return { messages, error: typeof outcome === "number" ? undefined : outcome.code };
}

type HeadEvent = [
  major: number,
  minor: number,
  fields: string[] | undefined,
  method: number | undefined,
  url: string | undefined,
  status: number | undefined,
  reason: string | undefined,
  upgrade: boolean,
  keepAlive: boolean,
];

function judgedMessage(head: HeadEvent, collected: readonly string[], target: string): JudgedMessage {
  const [, minor, fields, method, url, status, , upgrade, keepAlive] = head;
  return {
    minor,
    fields: lowerNames(fields ?? collected),
    method: method === undefined ? undefined : methods[method],
    target: url ?? target,
    status,
    upgrade,
    keepAlive,
    body: "",
    trailers: [],
    complete: false,
  };
}

function lowerNames(fields: readonly string[]): readonly string[] {
  return fields.map((text, index) => (index % 2 === 0 ? text.toLowerCase() : text));
}
