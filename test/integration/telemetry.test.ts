import { mkdtempSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BothServer, createBoth } from "../fakes/both-http.ts";
import { type Federation, startFederation, twoClusters } from "../fakes/federation.ts";
import { H2Client } from "../fakes/h2-ask.ts";
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from "../fakes/otlp-receiver.ts";
import { until } from "../fakes/until.ts";
import { startEchoWorkload, type Workload } from "../fakes/workloads.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const CALLERS_SPAN = "b7ad6b7169203331";
const HOPS = ["entry", "egress", "ingress", "inbound"];

/** One request, whatever the pool of an HTTP client would do. */
function call(
  federation: Federation,
  workload: string,
  headers: Record<string, string> = {},
): Promise<number> {
  const { host, port } = federation.address(workload);
  return new Promise((resolve, reject) => {
    httpRequest({ host, port, path: "/a?secret=1", headers, agent: false }, (response) => {
      response.resume().on("end", () => resolve(response.statusCode ?? 0));
    })
      .on("error", reject)
      .end();
  });
}

describe("a federation with telemetry switched on", () => {
  let receiver: OtlpReceiver;
  let cart: BothServer;
  const heads: string[] = [];
  const http2 = new H2Client();
  let echo: Workload;
  let federation: Federation;
  beforeAll(async () => {
    receiver = await startOtlpReceiver();
    cart = createBoth((request, response) => {
      const { rawHeaders } = request;
      const lines = rawHeaders.map((text, at) => (at % 2 === 0 ? `${text}: ${rawHeaders[at + 1]}` : ""));
      heads.push(lines.join("\n"));
      request.resume();
      response.writeHead(200, { "grpc-status": 0 }).end("a".repeat(100));
    });
    await cart.listen();
    echo = await startEchoWorkload();
    const directory = mkdtempSync(join(tmpdir(), "isthmus-telemetry-"));
    const documents = twoClusters({ cart: `127.0.0.1:${cart.port}`, echo: echo.address });
    federation = await startFederation(documents, directory, {
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_BSP_SCHEDULE_DELAY: "100",
      OTEL_METRIC_EXPORT_INTERVAL: "200",
      ISTHMUS_ACCESS_LOG: "all",
    });
  }, 90_000);
  afterAll(async () => {
    await federation?.stop();
    http2.close();
    await Promise.all([cart.close(), echo.stop(), receiver.stop()]);
  });

  const trace = (traceId: string): readonly ReceivedSpan[] =>
    receiver.spans().filter((span) => span.traceId === traceId);
  const wholeTrace = (traceId: string) =>
    until(`four spans of ${traceId}`, 10_000, () =>
      trace(traceId).length >= HOPS.length ? trace(traceId) : undefined,
    );
  const lastHead = () => heads.at(-1) ?? "";

  it("joins the caller's trace on every hop, each span the child of the one before", async () => {
    expect(
      await call(federation, "web", {
        traceparent: `00-${TRACE}-${CALLERS_SPAN}-01`,
        tracestate: "vendor=value",
      }),
    ).toBe(200);
    const spans = await wholeTrace(TRACE);
    let parent = CALLERS_SPAN;
    for (const hop of HOPS) {
      const span = spans.find((one) => one.attributes["isthmus.hop"] === hop);
      expect(span, hop).toMatchObject({
        parentSpanId: parent,
        status: 0,
        attributes: {
          "isthmus.source.id": "spiffe://west.test.mesh/ns/shop/sa/web",
          "isthmus.source.cluster": "west",
          "isthmus.source.workload": "ns/shop/sa/web",
          "isthmus.destination.cluster": "east",
          "isthmus.destination.service": "cart.shop",
          "isthmus.destination.port": 80,
          "isthmus.verdict": "permitted",
        },
      });
      expect(span?.endNs).toBeGreaterThanOrEqual(span?.startNs ?? 0n);
      parent = span?.spanId ?? "";
    }
    const entry = spans.find((one) => one.attributes["isthmus.hop"] === "entry");
    expect(entry?.attributes).toMatchObject({ "http.response.status_code": 200, "isthmus.retries": 0 });
    // A query may carry secrets.
    expect(entry?.attributes["url.path"]).toBe("/a");
    expect(lastHead()).toContain(`traceparent: 00-${TRACE}-${entry?.spanId}-01`);
    expect(lastHead()).toContain("tracestate: vendor=value");
    expect(lastHead().match(/traceparent/gi)).toHaveLength(1);
  });

  it("has spans of every hop of an HTTP/2 request and of a gRPC call, beside others of the same connection", async () => {
    const { host, port } = federation.address("web");
    const ids = ["4444", "5555", "6666"].map((start) => TRACE.replace("0af7", start));
    const asked = ids.map((traceId, at) =>
      http2.ask(`${host}:${port}`, "/shop.Cart/Add", {
        method: "POST",
        headers: {
          traceparent: `00-${traceId}-${CALLERS_SPAN}-01`,
          "content-type": at === 0 ? "text/plain" : "application/grpc",
        },
        body: "body",
      }),
    );
    expect((await Promise.all(asked)).map(({ status }) => status)).toEqual([200, 200, 200]);
    for (const traceId of ids) {
      const spans = await wholeTrace(traceId);
      let parent = CALLERS_SPAN;
      for (const hop of HOPS) {
        const span = spans.find((one) => one.attributes["isthmus.hop"] === hop);
        expect(span, hop).toMatchObject({
          parentSpanId: parent,
          status: 0,
          attributes: {
            "isthmus.source.id": "spiffe://west.test.mesh/ns/shop/sa/web",
            "isthmus.destination.cluster": "east",
            "isthmus.destination.service": "cart.shop",
            "isthmus.verdict": "permitted",
          },
        });
        parent = span?.spanId ?? "";
      }
    }
  });

  it("says which process each span came from", async () => {
    const services = (await wholeTrace(TRACE)).map(({ resource }) => [
      resource["service.name"],
      resource["service.instance.id"],
    ]);
    expect(services.map((names) => names.join(" ")).sort()).toEqual([
      "isthmus-agent east/agent-1",
      "isthmus-agent west/agent-1",
      "isthmus-gateway east/gateway-1",
      "isthmus-gateway west/gateway-1",
    ]);
  });

  it("begins a trace where the caller has none, and where its traceparent is malformed", async () => {
    for (const headers of [{}, { traceparent: `00-${TRACE}-zz-01`, tracestate: "vendor=value" }]) {
      expect(await call(federation, "web", headers)).toBe(200);
      const [, traceId] = /traceparent: 00-([0-9a-f]{32})-[0-9a-f]{16}-01/.exec(lastHead()) ?? [];
      expect(traceId).not.toBe(TRACE);
      expect(lastHead()).not.toContain("tracestate");
      await wholeTrace(traceId ?? "");
    }
  });

  it("traces nothing that the caller decided not to trace, and passes that on", async () => {
    const traceId = TRACE.replace("0af7", "1111");
    expect(await call(federation, "web", { traceparent: `00-${traceId}-${CALLERS_SPAN}-00` })).toBe(200);
    expect(lastHead()).toMatch(new RegExp(`traceparent: 00-${traceId}-[0-9a-f]{16}-00`));
    expect(await call(federation, "web", { traceparent: `00-${TRACE}-${CALLERS_SPAN}-01` })).toBe(200);
    await until("the later request's spans", 10_000, () => (trace(TRACE).length >= 8 ? true : undefined));
    expect(trace(traceId)).toEqual([]);
  });

  it("marks a refused request's span with the code", async () => {
    const traceId = TRACE.replace("0af7", "2222");
    expect(await call(federation, "batch", { traceparent: `00-${traceId}-${CALLERS_SPAN}-01` })).toBe(403);
    const [span] = await until("its span", 10_000, () =>
      trace(traceId).length > 0 ? trace(traceId) : undefined,
    );
    expect(span).toMatchObject({
      status: 2,
      attributes: {
        "error.type": "ISTH-2001",
        "isthmus.verdict": "refused",
        "http.response.status_code": 403,
      },
    });
    expect(trace(traceId)).toHaveLength(1);
  });

  it("exports the same counters as /metrics has", async () => {
    const points = await until("the requests of web", 10_000, () => {
      const found = receiver
        .points("isthmus_requests_total")
        .filter(({ attributes }) => attributes["workload"] === "ns/shop/sa/web");
      return found.reduce((sum, { value }) => sum + value, 0) >= 5 ? found : undefined;
    });
    expect(points[0]?.attributes).toEqual({
      source_cluster: "west",
      workload: "ns/shop/sa/web",
      destination_cluster: "east",
      service: "cart.shop",
      port: "80",
      version: "",
      route: "",
      status: "2xx",
      verdict: "permitted",
    });
    const [latency] = receiver.points("isthmus_request_duration_seconds");
    expect(latency?.buckets?.reduce((sum, count) => sum + count, 0)).toBe(latency?.value);
    const ways = receiver.points("isthmus_bytes_total").map(({ attributes }) => attributes["direction"]);
    expect(new Set(ways)).toEqual(new Set(["outbound", "egress", "ingress", "inbound", "external"]));
  });

  it("writes an access log with the same words", async () => {
    const line = await until("a line", 5_000, () =>
      federation
        .log()
        .split("\n")
        .find((text) => text.includes('"event":"request"') && text.includes(TRACE)),
    );
    const fields = JSON.parse(line.slice(line.indexOf("{"))) as Record<string, unknown>;
    expect(fields).toMatchObject({
      role: "agent",
      method: "GET",
      path: "/a",
      status: 200,
      caller: "spiffe://west.test.mesh/ns/shop/sa/web",
      destination_cluster: "east",
      service: "cart.shop",
      verdict: "permitted",
      retries: 0,
      traceId: TRACE,
    });
    expect(federation.log()).not.toContain("secret=1");
  });

  it("sends what it still has when it is told to stop", async () => {
    const traceId = TRACE.replace("0af7", "3333");
    await call(federation, "web", { traceparent: `00-${traceId}-${CALLERS_SPAN}-01` });
    const before = federation.signal({ role: "agent", cluster: "west" }, "SIGTERM");
    await federation.returned({ role: "agent", cluster: "west" }, before);
    await wholeTrace(traceId);
  });
});
