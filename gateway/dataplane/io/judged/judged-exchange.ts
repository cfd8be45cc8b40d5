import { type Problem, type ProblemName, problem } from "../../../../federation/model/problem.ts";
import { DEFAULT_HEAD_LIMITS } from "../../http1/outcome.ts";
import { parseRequestHead, type RequestHead } from "../../http1/request-head.ts";
import type { ResponseHead } from "../../http1/response-head.ts";
import { ErrorCode } from "../../http2/error-code.ts";
import type { Stream, StreamHandler } from "../../http2/stream.ts";
import { grpcStatusOf, isGrpc } from "../../policy/grpc.ts";
import { localReply } from "../../policy/local-reply.ts";
import type { Bagged } from "../bag.ts";
import { PATIENT_READER_MS, REQUEST_TIMEOUT_MS } from "../client-patience.ts";
import type { Http1Exchange } from "../http1-exchange.ts";
import { authorityOf, fieldValue, isPath, withoutClaims } from "../http2-fields.ts";
import { breakOff, grpcRefusal, refusalFields } from "../http2-refusal.ts";
import { problemDocument } from "../problem-reply.ts";
import { type JudgingHost, passesOn, type RequestRoute } from "./judging-host.ts";
import { headText, responseFields, trailerText } from "./http-versions.ts";
import type { UpstreamExchange } from "./upstream-exchange.ts";

/** One request and its answer: of the head HTTP/1.1's form is judged, so that there is one judge; the rest stays HTTP/2. */
export class JudgedExchange implements StreamHandler, Http1Exchange, Bagged {
  bagSlot = -1;
  /** `minor`: an answer's body comes bare, without chunks. */
  request: Http1Exchange["request"] = { method: "GET", upgrade: undefined, minor: 0 };
  scheme: string | undefined;
  requestDone: boolean;
  readonly body = {
    write: (bytes: Buffer, start: number, end: number) => this.#asking.write(bytes, start, end),
  };
  readonly passesUnchanged = false;
  readonly #asking: Stream;
  readonly #host: JudgingHost;
  readonly #onFinished: (wasAnswered: boolean) => void;
  #head: RequestHead | undefined;
  #route: RequestRoute | undefined;
  #upstream: UpstreamExchange | undefined;
  #isGrpc = false;
  #responded = false;
  #isOver = false;
  #requestTrailers = "";
  #trailers: readonly string[] | undefined;
  #progressMs: number;

  constructor(asking: Stream, host: JudgingHost, ended: boolean, onFinished: (wasAnswered: boolean) => void) {
    this.#asking = asking;
    this.#host = host;
    this.requestDone = ended;
    this.#onFinished = onFinished;
    this.#progressMs = host.coarseNow;
  }

  start(fields: readonly string[], isTooLarge: boolean): void {
    this.#isGrpc = isGrpc(fieldValue(fields, "content-type"));
    this.scheme = fieldValue(fields, ":scheme");
    const authority = authorityOf(fields);
    const path = fieldValue(fields, ":path") ?? "";
    if (isTooLarge) return this.#refuse(problem("http_head_too_large", "the request's fields are too many"));
    if (authority === undefined || !isPath(path) || fieldValue(fields, ":method") === "CONNECT")
      return this.#refuse(problem("http_malformed", ":authority or :path is none"));
    const bytes = Buffer.from(headText(fields, authority, this.requestDone), "latin1");
    const outcome = parseRequestHead(bytes, 0, bytes.length, DEFAULT_HEAD_LIMITS, 0, "origin");
    if (outcome.kind !== "head")
      return this.#refuse(
        outcome.kind === "invalid"
          ? problem(outcome.problem, outcome.detail)
          : problem("http_malformed", "no whole head"),
      );
    this.#head = outcome.head;
    this.request = { method: outcome.head.method, upgrade: undefined, minor: 0 };
    const route = this.#host.route(outcome.head);
    if ("name" in route) return this.#refuse(route);
    if ("takeOver" in route) return this.#refuse(problem("no_route", "CONNECT leads nowhere here"));
    this.#route = route;
    this.#asking.pause();
    const ready = route.pool.take(false);
    if (ready === undefined) this.#acquire(route);
    else this.#begin(ready, route);
  }

  #acquire(route: RequestRoute): void {
    route.pool.acquire(false, (result) => {
      if (this.#isOver) return result.ok ? result.value.abort() : undefined;
      if (result.ok) this.#begin(result.value, route);
      else if (this.#host.passesLoss === true) this.#passLoss("draining");
      else this.#refuse(result.error);
    });
  }

  #begin(upstream: UpstreamExchange, route: RequestRoute): void {
    this.#upstream = upstream;
    upstream.begin(this, route.head);
    this.#asking.resume();
  }

  get coarseNow(): number {
    return this.#host.coarseNow;
  }

  /** Cuts what is no longer allowed. */
  recheck(refusalOf: (head: RequestHead) => Problem | undefined): void {
    const reason = this.#head === undefined || this.#isOver ? undefined : refusalOf(this.#head);
    if (reason !== undefined) this.#fail(reason);
  }

  tick(now: number): void {
    const silentMs = now - this.#progressMs;
    const { needDrain, endReceived, isPaused } = this.#asking;
    if (needDrain && silentMs > PATIENT_READER_MS)
      return this.#fail(problem("http_timeout", "the client does not read its answer"));
    if (this.#responded || this.#isGrpc) return;
    if (!endReceived && !isPaused && silentMs > REQUEST_TIMEOUT_MS)
      this.#fail(problem("http_timeout", "the request did not arrive in time"));
    else if (silentMs > (this.#route?.requestMs ?? REQUEST_TIMEOUT_MS))
      this.#fail(problem("upstream_timeout", `no answer within ${silentMs / 1_000} s`));
  }

  // ---- from the client ----------------------------------------------------------------------------------------------

  onHeaders(): void {}

  onAltsvc(): void {}

  onData(stream: Stream, buffer: Buffer, start: number, end: number): void {
    this.#progressMs = this.#host.coarseNow;
    if (this.#upstream?.write(buffer, start, end) === false && this.#upstream.needsDrain) stream.pause();
  }

  onTrailers(_stream: Stream, fields: readonly string[]): void {
    this.#requestTrailers = trailerText(withoutClaims(fields));
  }

  onEnd(): void {
    if (this.requestDone) return;
    this.requestDone = true;
    this.#upstream?.end(this.#requestTrailers);
  }

  onDrain(): void {
    this.#progressMs = this.#host.coarseNow;
    this.#upstream?.resumeResponse();
  }

  onClosed(): void {
    if (this.#isOver) return;
    this.#upstream?.abort();
    this.#over();
  }

  // ---- from the service ---------------------------------------------------------------------------------------------

  received(bytes: number): void {
    this.#host.counters.down.value += bytes;
    this.#progressMs = this.#host.coarseNow;
  }

  declines(): boolean {
    return false;
  }

  writeResponse(): void {
    throw new TypeError("an answer that was to be changed came unchanged");
  }

  writeResponseHead(head: ResponseHead, buffer?: Buffer, bodyAt = 0, end = 0): void {
    this.#responded = true;
    this.#host.answered(head.status);
    const isBare = head.body.kind === "none" || (head.body.kind === "length" && head.body.length === 0);
    this.#asking.headers(responseFields(head.forwardable), isBare);
    if (buffer !== undefined && end > bodyAt) this.#asking.write(buffer, bodyAt, end);
  }

  writeInterim(head: string): void {
    this.#progressMs = this.#host.coarseNow;
    this.#asking.headers(responseFields(head), false);
  }

  trailers(fields: readonly string[]): void {
    this.#trailers = withoutClaims(fields);
  }

  write(bytes: Buffer, start: number, end: number): void {
    this.#asking.write(bytes, start, end);
  }

  awaitDrain(): void {
    if (this.#asking.needDrain) this.#upstream?.pauseResponse();
  }

  resumeRequest(): void {
    this.#asking.resume();
  }

  upgraded(): void {}

  finishUpgraded(): void {}

  responseDone(): void {
    this.#upstream = undefined;
    this.#asking.end(this.#trailers);
    this.#over();
    this.#asking.resume();
    // What the client still sends is nobody's.
    if (!this.requestDone && this.#asking.endSent) this.#asking.reset(ErrorCode.noError);
  }

  upstreamFailed(_stream: unknown, reason: Problem, rstCode?: number): void {
    this.#upstream = undefined;
    if (!passesOn(this.#host, reason)) return this.#fail(reason, rstCode);
    if (!this.#responded) return this.#passLoss(reason.name, rstCode);
    this.#over();
    breakOff(this.#asking, this.#isGrpc, reason, rstCode);
  }

  // ---- endings ------------------------------------------------------------------------------------------------------

  #fail(reason: Problem, code?: number): void {
    this.#upstream?.abort();
    this.#upstream = undefined;
    if (!this.#responded) return this.#refuse(reason);
    this.#host.refused(reason, this.#head);
    this.#over();
    breakOff(this.#asking, this.#isGrpc, reason, code);
  }

  /** Refused streams were certainly not processed (RFC 9113 §8.7): whoever asked may ask elsewhere. */
  #passLoss(name: ProblemName, code: number = ErrorCode.internalError): void {
    this.#over();
    this.#asking.reset(name === "draining" ? ErrorCode.refusedStream : code);
  }

  #refuse(reason: Problem): void {
    const { http } = localReply(reason.name);
    this.#host.refused(reason, this.#head);
    this.#host.answered(http);
    this.#over();
    const asking = this.#asking;
    if (this.#isGrpc) asking.headers(grpcRefusal(reason, grpcStatusOf(http)), true);
    else {
      const document = Buffer.from(problemDocument(reason, http), "utf8");
      const hasBody = this.request.method !== "HEAD";
      asking.headers([":status", String(http), ...refusalFields(reason, http, document.length)], !hasBody);
      if (hasBody) asking.write(document, 0, document.length);
      asking.end();
    }
    asking.resume();
    if (!asking.endReceived && asking.endSent) asking.reset(ErrorCode.noError);
  }

  #over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#onFinished(this.#responded);
  }
}
