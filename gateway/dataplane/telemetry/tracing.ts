import type { TraceContext } from "./trace-context.ts";

/** Attributes of a span, by OpenTelemetry's semantic conventions where they have a name; ours begin with `isthmus.`. */
export interface SpanAttributes {
  [name: string]: string | number | boolean;
}

/** Spans are made and exported outside the engine; without it (the usual case) a request pays one comparison. */
export interface Tracing {
  /** Begins a span below `parent`, or a new trace. What is not sampled costs little and is passed on all the same. */
  begin(name: string, parent: TraceContext | undefined, attributes: SpanAttributes): Span;
}

export interface Span {
  /** What the next hop is told. */
  readonly context: TraceContext;
  /** `error`: a problem code or `5xx`; absent when all went well. */
  end(attributes: SpanAttributes, error: string | undefined): void;
}
