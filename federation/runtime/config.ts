import { type Address, parseAddress } from "../model/address.ts";
import type { LogLevel } from "../model/log.ts";
import type { Issue } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { federationName } from "../model/wire/fields.ts";

/** Settings of a registry process, from its environment. */
export interface RegistryConfig {
  readonly stateDir: string;
  readonly listen: Address;
  /** Needed at the first start; later the state directory knows, and a different name is refused. */
  readonly federation?: string;
  readonly logLevel: LogLevel;
}

// Loopback: a registry is put on a network on purpose, behind something that speaks TLS.
const DEFAULT_LISTEN = "127.0.0.1:7070";
const LOG_LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/** All mistakes at once. */
export function parseRegistryConfig(
  get: (key: string) => string | undefined,
): Result<RegistryConfig, readonly Issue[]> {
  const issues: Issue[] = [];
  const complain = (path: string, message: string): void => void issues.push({ path, message });
  // An empty value is how shells and charts spell "not set".
  const stateDir = get("ISTHMUS_STATE_DIR") || "";
  if (stateDir === "") complain("ISTHMUS_STATE_DIR", "is required: the directory that holds keys and store");
  const listen = parseAddress(get("ISTHMUS_LISTEN") || DEFAULT_LISTEN);
  if (!listen.ok) complain("ISTHMUS_LISTEN", listen.error);
  const federation = get("ISTHMUS_FEDERATION") || undefined;
  if (federation !== undefined && !federationName.safeParse(federation).success)
    complain("ISTHMUS_FEDERATION", `"${federation}" is not a DNS name such as "acme.mesh"`);
  const level = get("ISTHMUS_LOG_LEVEL") || "info";
  const logLevel = LOG_LEVELS.find((known) => known === level);
  if (logLevel === undefined)
    complain("ISTHMUS_LOG_LEVEL", `"${level}" is not one of ${LOG_LEVELS.join(", ")}`);
  if (issues.length > 0 || !listen.ok || logLevel === undefined) return err(issues);
  const base = { stateDir, listen: listen.value, logLevel };
  return ok(federation === undefined ? base : { ...base, federation });
}
