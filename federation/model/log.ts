/** Structured logging for all runtimes: one JSON object a line. Fields never hold secrets. */
export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = { readonly [field: string]: string | number | boolean | null | undefined };

export interface Logger {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A logger that adds `fields` to every line. */
  with(fields: LogFields): Logger;
}

const RANK: { readonly [L in LogLevel]: number } = { debug: 0, info: 1, warn: 2, error: 3 };

/** `write` gets a whole line without its end; `now` is milliseconds since the epoch. */
export function createLogger(
  write: (line: string) => void,
  now: () => number,
  minimum: LogLevel = "info",
  base: LogFields = {},
): Logger {
  const at = (level: LogLevel) => (event: string, fields?: LogFields) => {
    if (RANK[level] < RANK[minimum]) return;
    write(JSON.stringify({ time: new Date(now()).toISOString(), level, event, ...base, ...fields }));
  };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    with: (fields) => createLogger(write, now, minimum, { ...base, ...fields }),
  };
}

export const SILENT_LOGGER: Logger = createLogger(
  () => {},
  () => 0,
  "error",
);
