import { telemetrySwitch } from "../../../federation/model/telemetry-switch.ts";
import { monotonicMs, systemClock } from "../clock.ts";
import type { Telemetry, TelemetryOptions } from "./open-telemetry.ts";

type TelemetryAbout = Omit<TelemetryOptions, "on" | "get" | "now" | "monotonicMs">;

/** Loads the SDK only where a variable asks for it. Telemetry that cannot start is no reason to serve nobody. */
export async function startTelemetry(
  get: (key: string) => string | undefined,
  about: TelemetryAbout,
): Promise<Telemetry | undefined> {
  const on = telemetrySwitch(get);
  if (!on.traces && !on.metrics) return undefined;
  try {
    const { openTelemetry } = await import("./open-telemetry.ts");
    const clock = { now: systemClock.now, monotonicMs };
    return await openTelemetry({ ...about, on, get, ...clock });
  } catch (error) {
    about.log.error("telemetry_failed", { detail: error instanceof Error ? error.message : String(error) });
    return undefined;
  }
}
