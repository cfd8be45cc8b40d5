import { type Problem, PROBLEMS } from "../../../federation/model/problem.ts";
import { GRPC_CODES, type GrpcCode } from "../../../federation/model/traffic-route.ts";
import { httpStatusOf } from "../policy/grpc.ts";
import type { EntryForward } from "../routing/decide.ts";
import type { RequestView } from "../routing/request-view.ts";
import { parseTraceContext, type TraceContext } from "../telemetry/trace-context.ts";
import type { Span, SpanAttributes } from "../telemetry/tracing.ts";
import type { Entry } from "./entry.ts";
import type { RouteSeries, Verdict } from "./route-series.ts";

/** Codes of these groups are verdicts on the caller and its message; the others say that something is broken. */
const REFUSALS = /^ISTH-[124]/;

/**
 * What is told of one request where it enters: its counters always, a span and a line of the access log where they are wanted.
 * One record serves all requests of a connection, one after the other.
 */
export class RequestRecord {
  readonly #entry: Entry;
  #series: RouteSeries | undefined;
  #target: EntryForward | undefined;
  #open = false;
  #startedMs = 0;
  #method = "";
  #path = "";
  #parent: TraceContext | undefined;
  #span: Span | undefined;
  #route = "";
  #status = 0;
  #attempts = 0;
  #code = "";
  #grpc: GrpcCode | undefined;
  #sent = 0;
  #received = 0;

  constructor(entry: Entry) {
    this.#entry = entry;
  }

  /** A head was read; `view` is looked at now and not kept. */
  start(view: RequestView): void {
    const { monotonicMs, tracing, accessLog } = this.#entry.env;
    this.#open = true;
    this.#startedMs = monotonicMs();
    this.#series = undefined;
    this.#target = undefined;
    this.#span = undefined;
    this.#route = "";
    this.#status = 0;
    this.#attempts = 0;
    this.#code = "";
    this.#grpc = undefined;
    this.#sent = 0;
    this.#received = 0;
    if (tracing === undefined && accessLog === undefined) return;
    this.#method = view.method;
    this.#path = pathOf(view.target);
    this.#parent =
      tracing === undefined
        ? undefined
        : parseTraceContext(view.header("traceparent"), view.header("tracestate"));
  }

  /** Where the rules send it. */
  toward(target: EntryForward, route: string): void {
    this.#target = target;
    this.#route = route;
    this.#series = this.#entry.seriesOf(target, route);
    this.#begin();
  }

  /** Another try goes elsewhere. */
  moved(target: EntryForward): void {
    this.#target = target;
    this.#series = this.#entry.seriesOf(target, this.#route);
  }

  /** What the next hops are told of the trace, once `toward` was called; `undefined` where nobody traces. */
  get trace(): TraceContext | undefined {
    return this.#span?.context;
  }

  /** One more stream is tried. */
  attempt(): void {
    this.#attempts += 1;
    if (this.#attempts > 1 && this.#series !== undefined) this.#series.retries.value += 1;
  }

  sent(bytes: number): void {
    this.#sent += bytes;
    if (this.#series !== undefined) this.#series.up.value += bytes;
  }

  received(bytes: number): void {
    this.#received += bytes;
    if (this.#series !== undefined) this.#series.down.value += bytes;
  }

  answered(status: number): void {
    this.#status = status;
  }

  /** How a gRPC call ended, as its service says. */
  grpcEnded(code: GrpcCode): void {
    this.#grpc = code;
  }

  /** It is answered here, or cut, for this reason. */
  refused(reason: Problem): void {
    this.#code = PROBLEMS[reason.name].code;
  }

  /** Once the answer is complete, or never will be; harmless when nothing is under way. */
  end(complete: boolean): void {
    if (!this.#open) return;
    this.#open = false;
    const entry = this.#entry;
    this.#series ??= entry.seriesOf(undefined, this.#route);
    const tookMs = entry.env.monotonicMs() - this.#startedMs;
    const verdict = this.#verdict();
    const error = this.#error(complete);
    this.#series.finished(this.#status, verdict, tookMs / 1000);
    if (error !== undefined) this.#series.failed(error);
    if (this.#span === undefined && entry.env.tracing !== undefined) this.#begin();
    this.#span?.end(this.#spanEnd(verdict), error);
    this.#log(tookMs, verdict, error);
  }

  #begin(): void {
    const { env, key } = this.#entry;
    if (env.tracing === undefined) return;
    const { labels } = this.#series ?? this.#entry.seriesOf(undefined, this.#route);
    this.#span = env.tracing.begin(`${this.#method} ${labels.service}`, this.#parent, {
      "http.request.method": this.#method,
      "url.path": this.#path,
      "isthmus.hop": "entry",
      "isthmus.source.id": key.caller.uri,
      "isthmus.source.cluster": labels.source_cluster,
      "isthmus.source.workload": labels.workload,
      "isthmus.destination.cluster": labels.destination_cluster,
      "isthmus.destination.service": labels.service,
      "isthmus.destination.port": key.port,
      "isthmus.destination.version": labels.version,
      "isthmus.route": labels.route,
    });
  }

  #verdict(): Verdict {
    if (this.#code !== "" && REFUSALS.test(this.#code)) return "refused";
    return this.#target?.permit.wouldDeny === true ? "observed" : "permitted";
  }

  #error(complete: boolean): string | undefined {
    if (this.#code !== "") return this.#code;
    if (this.#status >= 500) return "5xx";
    if (this.#grpc !== undefined && httpStatusOf(this.#grpc) >= 500) return `grpc-${this.#grpc}`;
    return complete ? undefined : "aborted";
  }

  #spanEnd(verdict: Verdict) {
    return {
      "http.response.status_code": this.#status,
      "http.request.body.size": this.#sent,
      "http.response.body.size": this.#received,
      ...(this.#grpc === undefined ? {} : { "rpc.grpc.status_code": GRPC_CODES.indexOf(this.#grpc) }),
      "isthmus.verdict": verdict,
      "isthmus.retries": Math.max(0, this.#attempts - 1),
      ...this.#destination(),
    };
  }

  /** As it was in the end. */
  #destination(): SpanAttributes | undefined {
    if (this.#series === undefined || this.#attempts < 2) return undefined;
    const { labels } = this.#series;
    return {
      "isthmus.destination.cluster": labels.destination_cluster,
      "isthmus.destination.version": labels.version,
    };
  }

  #log(tookMs: number, verdict: Verdict, error: string | undefined): void {
    const { accessLog } = this.#entry.env;
    if (accessLog === undefined || !accessLog.wants(error !== undefined)) return;
    const { labels } = this.#series ?? this.#entry.seriesOf(undefined, this.#route);
    accessLog.write("request", {
      method: this.#method,
      path: this.#path,
      status: this.#status,
      grpcStatus: this.#grpc,
      durationMs: Math.round(tookMs * 1000) / 1000,
      bytesUp: this.#sent,
      bytesDown: this.#received,
      caller: this.#entry.key.caller.uri,
      ...labels,
      verdict,
      error,
      retries: Math.max(0, this.#attempts - 1),
      traceId: this.#span?.context.traceId,
    });
  }
}

/** Queries carry what nobody wants in a log. */
function pathOf(target: string): string {
  const query = target.indexOf("?");
  return query === -1 ? target : target.slice(0, query);
}
