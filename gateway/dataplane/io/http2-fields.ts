import { type Problem, problem } from "../../../federation/model/problem.ts";
import { isDroppedName } from "../http1/field-kinds.ts";
import { isHost } from "../http1/host.ts";
import { isKept, keepFields } from "../http2/kept-fields.ts";
import { grpcTimeoutMs, isGrpc } from "../policy/grpc.ts";
import type { Routed } from "../routing/decide-request.ts";
import { type HeadEdits, modifiedPath } from "../routing/head-edits.ts";
import { pathOf, queryOf, type RequestView } from "../routing/request-view.ts";
import { renderTraceparent, type TraceContext } from "../telemetry/trace-context.ts";

/** A request's fields (name, value, name, value, …) as the rules look at them. */
export class Http2RequestView implements RequestView {
  #fields: readonly string[] = [];
  method = "";
  authority = "";
  target = "";

  of(fields: readonly string[], authority: string): this {
    this.#fields = fields;
    this.authority = authority;
    for (let at = 0; at < fields.length && isPseudo(fields[at]); at += 2) {
      if (fields[at] === ":method") this.method = fields[at + 1] ?? "";
      else if (fields[at] === ":path") this.target = fields[at + 1] ?? "";
    }
    return this;
  }

  /** What HTTP/1.1 says in Host stands in `:authority`; a rule may ask for it by the one name. */
  header(name: string): string | undefined {
    const found = fieldValue(this.#fields, name);
    return found === undefined && name === "host" ? fieldValue(this.#fields, ":authority") : found;
  }
}

/** Several values are joined by a comma, crumbs of a cookie by a semicolon (RFC 9113 §8.2.3). */
export function fieldValue(fields: readonly string[], name: string): string | undefined {
  let value: string | undefined;
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at] !== name) continue;
    const more = fields[at + 1] ?? "";
    value = value === undefined ? more : `${value}${name === "cookie" ? "; " : ", "}${more}`;
  }
  return value;
}

/** `:authority`, or Host where there is none, in lower case; `undefined` if neither is a host or both say different things. */
export function authorityOf(fields: readonly string[]): string | undefined {
  let authority: string | undefined;
  let host: string | undefined;
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at] === ":authority") authority = fields[at + 1];
    else if (fields[at] === "host") {
      if (host !== undefined) return undefined;
      host = fields[at + 1];
    }
  }
  const name = (authority ?? host)?.toLowerCase();
  if (name === undefined || (host !== undefined && host.toLowerCase() !== name)) return undefined;
  const bytes = Buffer.from(name, "latin1");
  return isHost(bytes, 0, bytes.length) ? name : undefined;
}

/** Whether `:path` is a path: a request target with a space or a control character would be another one in HTTP/1.1. */
export function isPath(target: string): boolean {
  return /^(?:\/[!-~\x80-\xff]*|\*)$/.test(target);
}

/** What the head of a request says, whatever the rules are. */
export class RequestFacts {
  readonly authority: string | undefined;
  readonly isGrpc: boolean;
  /** Of a gRPC call. */
  readonly timeoutMs: number | undefined;
  /** Who passed it on before us. */
  readonly via: string | undefined;
  /** Why it is forwarded to nobody. */
  readonly wrong: Problem | undefined;
  readonly #fields: readonly string[];
  readonly #isKept: boolean;
  #forwarded: readonly string[] | undefined;
  #pseudonym = "";

  constructor(fields: readonly string[], isKeptList: boolean) {
    this.authority = authorityOf(fields);
    this.isGrpc = isGrpc(fieldValue(fields, "content-type"));
    this.timeoutMs = this.isGrpc ? grpcTimeoutMs(fieldValue(fields, "grpc-timeout")) : undefined;
    this.via = fieldValue(fields, "via");
    this.wrong = wrongWith(new Http2RequestView().of(fields, ""), this.authority);
    this.#fields = fields;
    this.#isKept = isKeptList;
  }

  /** The head as it goes on where no rule changes it and nobody traces. */
  forwardedBy(via: string): readonly string[] {
    if (this.#forwarded !== undefined && this.#pseudonym === via) return this.#forwarded;
    const forwarded = forwardRequest(this.#fields, { via, trace: undefined });
    if (!this.#isKept) return forwarded;
    this.#pseudonym = via;
    this.#forwarded = keepFields(forwarded);
    return forwarded;
  }
}

function wrongWith({ method, target }: RequestView, authority: string | undefined): Problem | undefined {
  if (method === "CONNECT" || method === "TRACE") return problem("http_method", `${method} is not forwarded`);
  if (authority === undefined) return problem("http_host", ":authority and Host name no host, or two");
  return isPath(target) ? undefined : problem("http_malformed", ":path is no path");
}

const FACTS = new WeakMap<readonly string[], RequestFacts>();

/** Found out once for a head that comes again. */
export function factsOf(fields: readonly string[]): RequestFacts {
  const known = FACTS.get(fields);
  if (known !== undefined) return known;
  const isKeptList = isKept(fields);
  const facts = new RequestFacts(fields, isKeptList);
  if (isKeptList) FACTS.set(fields, facts);
  return facts;
}

export interface Forwarding {
  readonly via: string;
  readonly trace: TraceContext | undefined;
}

/** The head as it goes on: without what claims an identity, with our Via and the trace of the next hop. */
export function forwardRequest(fields: readonly string[], { via, trace }: Forwarding): readonly string[] {
  const kept: string[] = [];
  let passed = "";
  let hasAuthority = false;
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] ?? "";
    const value = fields[at + 1] ?? "";
    if (name === ":authority") hasAuthority = true;
    if (name === "via") passed += `${value}, `;
    else if (trace !== undefined && (name === "traceparent" || name === "tracestate")) continue;
    else if (name === "host" ? !hasAuthority : !isDroppedName(name)) kept.push(name, value);
  }
  kept.push("via", `${passed}2 ${via}`);
  if (trace === undefined) return kept;
  kept.push("traceparent", renderTraceparent(trace));
  if (trace.tracestate !== undefined) kept.push("tracestate", trace.tracestate);
  return kept;
}

/** The head as a rule changes it. */
export function changedRequest(fields: readonly string[], { edits, prefix }: Routed): readonly string[] {
  let changed = fields;
  if (edits.path !== undefined) {
    const target = fieldValue(fields, ":path") ?? "/";
    const path = modifiedPath(edits.path, pathOf(target), prefix);
    changed = replaced(changed, ":path", path + queryOf(target));
  }
  if (edits.hostname !== undefined) changed = replaced(changed, ":authority", edits.hostname);
  return edits.request === undefined ? changed : edited(changed, edits.request);
}

/** Names are lower case in HTTP/2, whatever the rule wrote. */
export function edited(fields: readonly string[], { dropped, added }: HeadEdits): readonly string[] {
  const kept: string[] = [];
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] ?? "";
    if (!dropped.has(name)) kept.push(name, fields[at + 1] ?? "");
  }
  for (const { name, value } of added) kept.push(name.toLowerCase(), value);
  return kept;
}

/** A pseudo-header field's value, or the field itself where it was missing; Host gives way to it. */
function replaced(fields: readonly string[], name: string, value: string): readonly string[] {
  const kept = [name, value];
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at] !== name && !(name === ":authority" && fields[at] === "host"))
      kept.push(fields[at] ?? "", fields[at + 1] ?? "");
  }
  return kept;
}

/** Answers and trailers: the same list where nothing has to be left out, which is nearly always. */
export function withoutClaims(fields: readonly string[]): readonly string[] {
  const known = WITHOUT_CLAIMS.get(fields);
  if (known !== undefined) return known;
  const stripped = withoutDropped(fields);
  if (isKept(fields)) WITHOUT_CLAIMS.set(fields, keepFields(stripped));
  return stripped;
}

const WITHOUT_CLAIMS = new WeakMap<readonly string[], readonly string[]>();

function withoutDropped(fields: readonly string[]): readonly string[] {
  for (let at = 0; at < fields.length; at += 2) {
    if (isDroppedName(fields[at] ?? "")) return strip(fields);
  }
  return fields;
}

function strip(fields: readonly string[]): readonly string[] {
  const kept: string[] = [];
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] ?? "";
    if (!isDroppedName(name)) kept.push(name, fields[at + 1] ?? "");
  }
  return kept;
}

function isPseudo(name: string | undefined): boolean {
  return name?.charCodeAt(0) === 0x3a;
}
