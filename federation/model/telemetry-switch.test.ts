import { expect, it } from "vitest";
import { telemetrySwitch } from "./telemetry-switch.ts";

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318" };

it.each([
  [{}, false, false],
  [ENDPOINT, true, true],
  [{ ...ENDPOINT, OTEL_SDK_DISABLED: "true" }, false, false],
  [{ ...ENDPOINT, OTEL_TRACES_EXPORTER: "none" }, false, true],
  [{ ...ENDPOINT, OTEL_METRICS_EXPORTER: "none" }, true, false],
  [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://collector:4318/v1/traces" }, true, false],
  [{ OTEL_METRICS_EXPORTER: "otlp" }, false, true],
  [{ OTEL_TRACES_EXPORTER: "" }, false, false],
])("with %j traces are %s and metrics %s", (env: Record<string, string>, traces, metrics) => {
  expect(telemetrySwitch((key) => env[key])).toEqual({ traces, metrics });
});
