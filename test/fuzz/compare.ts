/**
 * What must hold between our codec and llhttp, for any bytes. Each function answers what is wrong, or the verdict both
 * can live with. Being stricter than llhttp is allowed; being laxer, or reading a length differently, never is.
 */
import {
  ChunkedDecoder,
  type ChunkedOutput,
  headFields,
  latin1,
  parseRequestHead,
  parseResponseHead,
  type RequestHead,
  type ResponseHead,
} from "../../gateway/dataplane/http1/index.ts";
import { type JudgedMessage, judgeRequests, judgeResponses, LLHTTP_METHODS } from "./llhttp.ts";

export type Verdict = { readonly ok: "accepted" | "refused" | "waiting" } | { readonly wrong: string };

const ACCEPTED: Verdict = { ok: "accepted" };
const NEXT = "GET /next HTTP/1.1\r\nHost: n\r\n\r\n";
const LARGEST_PROBED_BODY = 64;

export function compareRequest(text: string): Verdict {
  const bytes = Buffer.from(text, "latin1");
  const outcome = parseRequestHead(bytes, 0, bytes.length);
  if (outcome.kind === "invalid") return { ok: "refused" };
  if (outcome.kind === "need-more") {
    return judgeRequests(bytes).messages.length === 0
      ? { ok: "waiting" }
      : { wrong: "llhttp already has a head" };
  }
  const { head } = outcome;
  // llhttp knows a list of methods; a gateway leaves that to the server.
  if (!LLHTTP_METHODS.has(head.method)) return ACCEPTED;
  return (
    compareRequestHead(head, text.slice(0, head.byteLength)) ?? compareForwardedRequest(head) ?? ACCEPTED
  );
}

function compareRequestHead(head: RequestHead, sent: string): Verdict | undefined {
  const { messages, error } = judgeRequests(Buffer.from(sent, "latin1"));
  const judged = messages[0];
  if (judged === undefined || error !== undefined) return { wrong: `llhttp refuses the head: ${error}` };
  // llhttp parses more methods than Node has names for.
  const isSameMethod = judged.method === undefined || judged.method === head.method;
  if (!isSameMethod || judged.target !== head.target || judged.minor !== head.minor) {
    return { wrong: `llhttp reads the line as ${judged.method} ${judged.target} 1.${judged.minor}` };
  }
  if (!sameFields(judged.fields, headFields(head)))
    return { wrong: `llhttp reads ${JSON.stringify(judged.fields)}` };
  if (head.keepAlive && !judged.keepAlive) return { wrong: "llhttp would close the connection" };
  // After a request to switch protocols llhttp reads no further, so there is no length to compare.
  return judged.upgrade ? undefined : compareRequestFraming(head, sent);
}

/** The body we expect and a second request behind it: llhttp must find both exactly there. */
function compareRequestFraming(head: RequestHead, sent: string): Verdict | undefined {
  const body = probeBody(head.body);
  if (body === undefined) return undefined;
  const follows = head.keepAlive ? NEXT : "";
  const { messages, error } = judgeRequests(Buffer.from(sent + body.wire + follows, "latin1"));
  const [first, second] = messages;
  if (error !== undefined || first?.complete !== true || first.body !== body.content) {
    return {
      wrong: `llhttp reads another length than ${JSON.stringify(head.body)}: ${error ?? first?.body}`,
    };
  }
  if (head.keepAlive && (second?.target !== "/next" || !second.complete))
    return { wrong: "llhttp misses what follows" };
  return undefined;
}

function probeBody(framing: RequestHead["body"]): { wire: string; content: string } | undefined {
  switch (framing.kind) {
    case "none":
      return { wire: "", content: "" };
    case "length":
      if (framing.length > LARGEST_PROBED_BODY) return undefined;
      return { wire: "z".repeat(framing.length), content: "z".repeat(framing.length) };
    case "chunked":
      return { wire: "2\r\nzz\r\n0\r\n\r\n", content: "zz" };
    case "until-close":
      return { wire: "zzz", content: "zzz" };
  }
}

/** Stated anew rather than taken from the codec, which could be wrong about both in the same way. */
const NEVER_FORWARDED: ReadonlySet<string> = new Set([
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "x-forwarded-client-cert",
  "client-cert",
  "client-cert-chain",
  "l5d-client-id",
]);
const NEVER_FORWARDED_FOLDED: ReadonlySet<string> = new Set([
  ...NEVER_FORWARDED,
  "host",
  "connection",
  "content-length",
  "transfer-encoding",
]);

/** What goes on must be a message that we and llhttp read alike, of the same length, with nothing of this hop left in it. */
function compareForwardedRequest(head: RequestHead): Verdict | undefined {
  const forwarded = `${head.forwardable}\r\n`;
  const bytes = Buffer.from(forwarded, "latin1");
  const again = parseRequestHead(bytes, 0, bytes.length);
  if (again.kind !== "head") return { wrong: `we refuse what we forward: ${JSON.stringify(again)}` };
  const second = again.head;
  if (second.byteLength !== bytes.length) return { wrong: "what we forward ends before its end" };
  if (second.forwardable !== head.forwardable && !isUpgradeOrder(head))
    return { wrong: "forwarding twice differs" };
  if (JSON.stringify(second.body) !== JSON.stringify(head.body))
    return { wrong: "forwarding changes the length" };
  if (second.target !== head.target || second.host !== head.host || second.method !== head.method) {
    return { wrong: "forwarding changes what is asked" };
  }
  return leftover(headFields(second)) ?? compareRequestHead(second, forwarded);
}

/** Connection and Upgrade lines move to the end each time, in the same spelling. */
function isUpgradeOrder(head: { readonly upgrade: string | undefined }): boolean {
  return head.upgrade !== undefined;
}

function leftover(fields: readonly string[]): Verdict | undefined {
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] ?? "";
    const folded = name.replaceAll("_", "-");
    const isLeft = name === folded ? NEVER_FORWARDED.has(name) : NEVER_FORWARDED_FOLDED.has(folded);
    if (isLeft || folded.startsWith("isthmus-")) return { wrong: `${name} is forwarded` };
  }
  return undefined;
}

export function compareResponse(text: string, method: "GET" | "HEAD"): Verdict {
  const bytes = Buffer.from(text, "latin1");
  const request = { method, upgrade: "websocket" };
  const outcome = parseResponseHead(bytes, 0, bytes.length, request);
  if (outcome.kind === "invalid") return { ok: "refused" };
  if (outcome.kind === "need-more") {
    const early = judgeResponses(bytes, method === "HEAD").messages.length > 0;
    return early ? { wrong: "llhttp already has a head" } : { ok: "waiting" };
  }
  const { head } = outcome;
  const forwarded = Buffer.from(`${head.forwardable}\r\n`, "latin1");
  const again = parseResponseHead(forwarded, 0, forwarded.length, request);
  if (again.kind !== "head") return { wrong: `we refuse what we forward: ${JSON.stringify(again)}` };
  if (JSON.stringify(again.head.body) !== JSON.stringify(head.body))
    return { wrong: "forwarding changes the length" };
  return (
    leftover(headFields(again.head)) ??
    compareResponseHead(head, text.slice(0, head.byteLength), method) ??
    compareResponseHead(again.head, latin1(forwarded, 0, forwarded.length), method) ??
    ACCEPTED
  );
}

function compareResponseHead(head: ResponseHead, sent: string, method: string): Verdict | undefined {
  const { messages, error } = judgeResponses(Buffer.from(sent, "latin1"), method === "HEAD");
  const judged = messages[0];
  if (judged === undefined || error !== undefined) return { wrong: `llhttp refuses the head: ${error}` };
  if (judged.status !== head.status || judged.minor !== head.minor)
    return { wrong: "llhttp reads another status" };
  if (!sameFields(judged.fields, headFields(head)))
    return { wrong: `llhttp reads ${JSON.stringify(judged.fields)}` };
  if (judged.upgrade || head.status === 101) return undefined;
  // llhttp leaves it to its caller that a response to HEAD ends with its head, and keeps the connection or not by that.
  const isJudged = method !== "HEAD";
  if (isJudged && head.keepAlive && !judged.keepAlive) return { wrong: "llhttp would close the connection" };
  return compareResponseFraming(head, sent, method);
}

function compareResponseFraming(head: ResponseHead, sent: string, method: string): Verdict | undefined {
  const body = probeBody(head.body);
  if (body === undefined || (!head.keepAlive && head.body.kind === "none")) return undefined;
  const follows = head.keepAlive ? "HTTP/1.1 299 Next\r\nContent-Length: 0\r\n\r\n" : "";
  const { messages, error } = judgeResponses(
    Buffer.from(sent + body.wire + follows, "latin1"),
    method === "HEAD",
  );
  const [first, second] = messages;
  const isComplete = first?.complete === true || head.body.kind === "until-close";
  if (error !== undefined || !isComplete || first?.body !== body.content) {
    return {
      wrong: `llhttp reads another length than ${JSON.stringify(head.body)}: ${error ?? first?.body}`,
    };
  }
  if (head.keepAlive && second?.status !== 299) return { wrong: "llhttp misses the response that follows" };
  return undefined;
}

const CHUNKED_HEAD = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

export function compareChunkedBody(text: string): Verdict {
  const payload = decode(text, "payload");
  const rewritten = decode(text, "chunked");
  if (payload.status !== rewritten.status || payload.consumed !== rewritten.consumed) {
    return { wrong: "the two outputs disagree" };
  }
  if (payload.status === "invalid") return { ok: "refused" };
  const { error, message } = judgeBody(text.slice(0, payload.consumed));
  if (payload.status === "open") {
    return message?.complete === true ? { wrong: "llhttp sees the end" } : { ok: "waiting" };
  }
  if (error !== undefined || message?.complete !== true)
    return { wrong: `llhttp refuses the body: ${error}` };
  if (message.body !== payload.output) return { wrong: `llhttp reads ${JSON.stringify(message.body)}` };
  const again = judgeBody(rewritten.output);
  if (
    again.error !== undefined ||
    again.message?.complete !== true ||
    again.message.body !== payload.output
  ) {
    return { wrong: `llhttp reads the rewritten body otherwise: ${again.error ?? again.message?.body}` };
  }
  if (!isCanonical(rewritten.output)) return { wrong: "a chunk size is forwarded in an odd spelling" };
  return leftover(again.message.trailers) ?? ACCEPTED;
}

function judgeBody(body: string): { error: string | undefined; message: JudgedMessage | undefined } {
  const { error, messages } = judgeRequests(Buffer.from(CHUNKED_HEAD + body, "latin1"));
  return { error, message: messages[0] };
}

/** Every size line is a plain hexadecimal number: no extension, no leading zero. */
function isCanonical(body: string): boolean {
  let at = 0;
  for (;;) {
    const lineEnd = body.indexOf("\r\n", at);
    const digits = body.slice(at, lineEnd);
    if (digits === "0") return true;
    if (!/^[1-9a-f][0-9a-f]*$/i.test(digits)) return false;
    at = lineEnd + 2 + Number.parseInt(digits, 16) + 2;
  }
}

function decode(text: string, output: ChunkedOutput): { status: string; consumed: number; output: string } {
  const decoder = new ChunkedDecoder(output);
  const bytes = Buffer.from(text, "latin1");
  let passed = "";
  const sink = {
    data(buffer: Buffer, start: number, end: number): void {
      passed += latin1(buffer, start, end);
    },
  };
  const consumed = decoder.feed(bytes, 0, bytes.length, sink);
  return { status: decoder.status, consumed, output: passed };
}

function sameFields(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((text, index) => text === right[index]);
}
