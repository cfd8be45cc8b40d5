import { once } from "node:events";
import { createServer } from "node:http";
import { Message } from "./protobuf.ts";

export type Attributes = Readonly<Record<string, string | number | boolean>>;

export interface ReceivedSpan {
  readonly resource: Attributes;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty: the first of its trace. */
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: number | undefined;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly attributes: Attributes;
  /** 2: error. */
  readonly status: number;
}

export interface ReceivedPoint {
  readonly name: string;
  readonly resource: Attributes;
  readonly attributes: Attributes;
  /** A counter's or gauge's; a histogram's count. */
  readonly value: number;
  readonly buckets?: readonly number[];
}

/** A collector as OTLP/HTTP describes one (binary protobuf on /v1/traces and /v1/metrics). */
export interface OtlpReceiver {
  readonly url: string;
  spans(): readonly ReceivedSpan[];
  /** Of the newest export that had it. */
  points(name: string): readonly ReceivedPoint[];
  stop(): Promise<void>;
}

export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const points = new Map<string, ReceivedPoint>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const message = new Message(Buffer.concat(chunks));
      const isProtobuf = request.headers["content-type"] === "application/x-protobuf";
      if (request.url === "/v1/traces" && isProtobuf) spans.push(...readSpans(message));
      else if (request.url === "/v1/metrics" && isProtobuf)
        for (const point of readPoints(message)) points.set(keyOf(point), point);
      else return void response.writeHead(415).end();
      response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const bound = server.address();
  return {
    url: `http://127.0.0.1:${typeof bound === "object" && bound !== null ? bound.port : 0}`,
    spans: () => spans,
    points: (name) => [...points.values()].filter((point) => point.name === name),
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

// Field numbers are those of opentelemetry-proto v1.

function readSpans(request: Message): ReceivedSpan[] {
  return request.messages(1).flatMap((resourceSpans) => {
    const resource = attributesOf(resourceSpans.message(1), 1);
    return resourceSpans.messages(2).flatMap((scope) =>
      scope.messages(2).map((span) => ({
        resource,
        traceId: span.hex(1),
        spanId: span.hex(2),
        parentSpanId: span.hex(4),
        name: span.text(5) ?? "",
        kind: span.int(6),
        startNs: span.fixed64(7) ?? 0n,
        endNs: span.fixed64(8) ?? 0n,
        attributes: attributesOf(span, 9),
        status: span.message(15)?.int(3) ?? 0,
      })),
    );
  });
}

function readPoints(request: Message): ReceivedPoint[] {
  return request.messages(1).flatMap((resourceMetrics) => {
    const resource = attributesOf(resourceMetrics.message(1), 1);
    return resourceMetrics
      .messages(2)
      .flatMap((scope) => scope.messages(2).flatMap((metric) => readMetric(metric, resource)));
  });
}

function readMetric(metric: Message, resource: Attributes): ReceivedPoint[] {
  const name = metric.text(1) ?? "";
  const numbers = [...(metric.message(5)?.messages(1) ?? []), ...(metric.message(7)?.messages(1) ?? [])];
  const histograms = metric.message(9)?.messages(1) ?? [];
  return [
    ...numbers.map((point) => ({
      name,
      resource,
      attributes: attributesOf(point, 7),
      value: Number(point.fixed64(6) ?? point.double(4) ?? 0),
    })),
    ...histograms.map((point) => ({
      name,
      resource,
      attributes: attributesOf(point, 9),
      value: Number(point.fixed64(4) ?? 0n),
      buckets: point.packedFixed64(6),
    })),
  ];
}

function attributesOf(message: Message | undefined, field: number): Attributes {
  const pairs = (message?.messages(field) ?? []).map((pair) => {
    const value = pair.message(2);
    const flag = value?.int(2);
    const read =
      value?.text(1) ?? value?.int(3) ?? value?.double(4) ?? (flag === undefined ? "" : flag === 1);
    return [pair.text(1) ?? "", read] as const;
  });
  return Object.fromEntries(pairs);
}

function keyOf({ name, resource, attributes }: ReceivedPoint): string {
  return JSON.stringify([name, resource, attributes]);
}
