/** What OpenTelemetry's own variables ask for; Isthmus adds none. */
export interface TelemetrySwitch {
  readonly traces: boolean;
  readonly metrics: boolean;
}

/**
 * A signal is on when an exporter is named for it (`OTEL_TRACES_EXPORTER`), or when somebody says where to send it. Without
 * either the SDK would send to a collector on this machine, which few have.
 */
export function telemetrySwitch(get: (key: string) => string | undefined): TelemetrySwitch {
  if (get("OTEL_SDK_DISABLED")?.toLowerCase() === "true") return { traces: false, metrics: false };
  const isOn = (signal: "TRACES" | "METRICS"): boolean => {
    const exporter = get(`OTEL_${signal}_EXPORTER`);
    if (exporter) return exporter !== "none";
    return Boolean(get(`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`) || get("OTEL_EXPORTER_OTLP_ENDPOINT"));
  };
  return { traces: isOn("TRACES"), metrics: isOn("METRICS") };
}
