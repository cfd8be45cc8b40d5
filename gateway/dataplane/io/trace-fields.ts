import { parseTraceContext, renderTraceparent, type TraceContext } from "../telemetry/trace-context.ts";
import type { ReceivedFields, RequestFields } from "./tunnel-stream.ts";

/** Trace Context crosses a tunnel in fields of its CONNECT request: the stream carries one traced exchange. */
export function traceFields(trace: TraceContext | undefined): RequestFields | undefined {
  if (trace === undefined) return undefined;
  const traceparent = renderTraceparent(trace);
  return trace.tracestate === undefined ? { traceparent } : { traceparent, tracestate: trace.tracestate };
}

export function traceOf({ traceparent, tracestate }: ReceivedFields): TraceContext | undefined {
  if (typeof traceparent !== "string") return undefined;
  return parseTraceContext(traceparent, typeof tracestate === "string" ? tracestate : undefined);
}

/** A request head with the trace context of its next hop in place of the one it came with. Ends without an empty line. */
export function withTrace(forwardable: string, trace: TraceContext): string {
  const bare = forwardable.replace(/^(?:traceparent|tracestate):[^\r\n]*\r\n/gim, "");
  const state = trace.tracestate === undefined ? "" : `tracestate: ${trace.tracestate}\r\n`;
  return `${bare}traceparent: ${renderTraceparent(trace)}\r\n${state}`;
}
