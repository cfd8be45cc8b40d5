import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, TraceFlags, type Tracer } from "@opentelemetry/api";
import type { Span, SpanAttributes, TraceContext, Tracing } from "../../dataplane/index.ts";

/** The engine's spans as OpenTelemetry's. */
export function createTracing(tracer: Tracer): Tracing {
  return {
    begin(name, parent, attributes) {
      const kind = attributes["isthmus.hop"] === "entry" ? SpanKind.CLIENT : SpanKind.SERVER;
      const span = tracer.startSpan(name, { kind, attributes }, contextOf(parent));
      const { traceId, spanId, traceFlags } = span.spanContext();
      const sampled = (traceFlags & TraceFlags.SAMPLED) !== 0;
      const state = parent?.tracestate;
      return {
        context: { traceId, spanId, sampled, ...(state === undefined ? {} : { tracestate: state }) },
        end(more: SpanAttributes, error: string | undefined) {
          span.setAttributes(more);
          if (error !== undefined) {
            span.setAttribute("error.type", error);
            span.setStatus({ code: SpanStatusCode.ERROR, message: error });
          }
          span.end();
        },
      } satisfies Span;
    },
  };
}

function contextOf(parent: TraceContext | undefined) {
  if (parent === undefined) return ROOT_CONTEXT;
  const { traceId, spanId, sampled } = parent;
  const traceFlags = sampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags, isRemote: true });
}
