import { diag, DiagLogLevel, trace } from "@opentelemetry/api";
import { envDetector, resourceFromAttributes } from "@opentelemetry/resources";
import { PeriodicExportingMetricReader, type PushMetricExporter } from "@opentelemetry/sdk-metrics";
import { NodeSDK } from "@opentelemetry/sdk-node";
import type { Logger } from "../../../federation/model/log.ts";
import type { TelemetrySwitch } from "../../../federation/model/telemetry-switch.ts";
import type { MetricFamily, Tracing } from "../../dataplane/index.ts";
import { createMetricProducer } from "./metric-producer.ts";
import { FewPerSecond } from "./sampler.ts";
import { createTracing } from "./span-maker.ts";

export interface TelemetryOptions {
  readonly on: TelemetrySwitch;
  readonly get: (key: string) => string | undefined;
  readonly role: string;
  readonly member: string;
  readonly cluster: string;
  readonly version: string;
  readonly families: () => readonly MetricFamily[];
  readonly log: Logger;
  readonly now: () => number;
  readonly monotonicMs: () => number;
}

export interface Telemetry {
  readonly tracing: Tracing | undefined;
  /** Sends what is left; gives up after a moment. */
  close(): Promise<void>;
}

const SCOPE = "isthmus";
// Spans of the last seconds are worth a moment; a collector that is gone is not worth a slow restart.
const CLOSE_WITHIN_MS = 2_000;

/**
 * Loaded only when telemetry is switched on: the SDK costs 0.3 s and 40 MB. Where to send, how, and how much is sampled is
 * said by the standard `OTEL_*` variables, which the SDK reads itself.
 */
export async function openTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const { on, get, role, member, cluster, version, families, log, now, monotonicMs } = options;
  reportOwnTroubles(log);
  const resource = resourceFromAttributes({
    "service.name": `isthmus-${role}`,
    "service.namespace": "isthmus",
    "service.instance.id": `${cluster}/${member}`,
    "service.version": version,
    "isthmus.cluster": cluster,
  });
  const producer = createMetricProducer(families, { name: SCOPE, version }, now);
  const sdk = new NodeSDK({
    resource,
    // What the operator says (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) stands above ours; the others would tell the
    // collector the command line and the paths of this machine.
    resourceDetectors: [envDetector],
    textMapPropagator: null,
    instrumentations: [],
    logRecordProcessors: [],
    metricReaders: on.metrics ? [await metricReader(get, producer)] : [],
    ...(on.traces ? {} : { spanProcessors: [] }),
    ...(get("OTEL_TRACES_SAMPLER") ? {} : { sampler: new FewPerSecond(monotonicMs) }),
  });
  sdk.start();
  return {
    tracing: on.traces ? createTracing(trace.getTracer(SCOPE, version)) : undefined,
    async close() {
      const given = new Promise<void>((resolve) => setTimeout(resolve, CLOSE_WITHIN_MS).unref());
      await Promise.race([sdk.shutdown().catch(() => {}), given]);
    },
  };
}

async function metricReader(
  get: TelemetryOptions["get"],
  producer: ReturnType<typeof createMetricProducer>,
): Promise<PeriodicExportingMetricReader> {
  const exporter = await metricExporter(
    get("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL") || get("OTEL_EXPORTER_OTLP_PROTOCOL"),
  );
  const interval = Number(get("OTEL_METRIC_EXPORT_INTERVAL") || 60_000);
  const timeout = Number(get("OTEL_METRIC_EXPORT_TIMEOUT") || 30_000);
  return new PeriodicExportingMetricReader({
    exporter,
    metricProducers: [producer],
    exportIntervalMillis: interval,
    exportTimeoutMillis: Math.min(interval, timeout),
  });
}

async function metricExporter(protocol: string | undefined): Promise<PushMetricExporter> {
  if (protocol === "grpc")
    return new (await import("@opentelemetry/exporter-metrics-otlp-grpc")).OTLPMetricExporter();
  if (protocol === "http/json")
    return new (await import("@opentelemetry/exporter-metrics-otlp-http")).OTLPMetricExporter();
  return new (await import("@opentelemetry/exporter-metrics-otlp-proto")).OTLPMetricExporter();
}

/** A collector that is away must be heard of, but not at every export. */
function reportOwnTroubles(log: Logger): void {
  let last = "";
  const report = (detail: string): void => {
    if (detail === last) return;
    last = detail;
    log.warn("telemetry_failed", { detail: detail.slice(0, 300) });
  };
  const quiet = (): void => {};
  const logger = { error: report, warn: report, info: quiet, debug: quiet, verbose: quiet };
  diag.setLogger(logger, { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });
}
