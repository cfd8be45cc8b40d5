import { type Problem, PROBLEMS } from "../../../federation/model/problem.ts";
import type { EntryForward } from "../routing/decide.ts";
import type { TraceContext } from "../telemetry/trace-context.ts";
import type { Span } from "../telemetry/tracing.ts";
import type { Counter } from "./counters.ts";
import type { Entry } from "./entry.ts";
import type { RelayCounters } from "./relay.ts";
import type { RouteLabels } from "./route-series.ts";

/** What is told of one opaque connection where it enters: bytes always, a span and a line of the access log where wanted. */
export class ConnectionRecord implements RelayCounters {
  /** Of this connection's way: a count of its own would cost every chunk a second write. */
  up: Counter;
  down: Counter;
  readonly #entry: Entry;
  readonly #startedMs: number;
  #labels: RouteLabels;
  #wouldDeny = false;
  #span: Span | undefined;
  #code = "";

  constructor(entry: Entry) {
    this.#entry = entry;
    this.#startedMs = entry.env.monotonicMs();
    const series = entry.seriesOf(undefined, "");
    this.up = series.up;
    this.down = series.down;
    this.#labels = series.labels;
  }

  toward(target: EntryForward): void {
    const { up, down, labels } = this.#entry.seriesOf(target, "");
    this.up = up;
    this.down = down;
    this.#labels = labels;
    this.#wouldDeny = target.permit.wouldDeny;
    this.#span = this.#entry.env.tracing?.begin(`TCP ${labels.service}`, undefined, this.#attributes());
  }

  get trace(): TraceContext | undefined {
    return this.#span?.context;
  }

  refused(reason: Problem): void {
    this.#code = PROBLEMS[reason.name].code;
  }

  end(complete: boolean): void {
    const { tracing, accessLog, monotonicMs } = this.#entry.env;
    if (tracing === undefined && accessLog === undefined) return;
    const error = this.#code === "" ? (complete ? undefined : "aborted") : this.#code;
    const verdict = /^ISTH-[12]/.test(this.#code) ? "refused" : this.#wouldDeny ? "observed" : "permitted";
    this.#span?.end({ "isthmus.verdict": verdict }, error);
    if (accessLog?.wants(error !== undefined) !== true) return;
    const durationMs = Math.round(monotonicMs() - this.#startedMs);
    const { uri: caller } = this.#entry.key.caller;
    const { traceId } = this.#span?.context ?? {};
    accessLog.write("connection", { durationMs, caller, ...this.#labels, verdict, error, traceId });
  }

  #attributes() {
    const { caller, port } = this.#entry.key;
    return {
      "isthmus.hop": "entry",
      "isthmus.source.id": caller.uri,
      "isthmus.source.cluster": this.#labels.source_cluster,
      "isthmus.source.workload": this.#labels.workload,
      "isthmus.destination.cluster": this.#labels.destination_cluster,
      "isthmus.destination.service": this.#labels.service,
      "isthmus.destination.port": port,
      "isthmus.destination.version": this.#labels.version,
    };
  }
}
