import { createLogger, type Logger } from "../../federation/model/log.ts";

export interface MemoryLog extends Logger {
  readonly lines: readonly { readonly [field: string]: unknown }[];
  /** The lines of one event. */
  of(event: string): readonly { readonly [field: string]: unknown }[];
}

export function createMemoryLog(): MemoryLog {
  const lines: { readonly [field: string]: unknown }[] = [];
  const log = createLogger(
    (line) => void lines.push(JSON.parse(line)),
    () => 0,
    "debug",
  );
  return { ...log, lines, of: (event) => lines.filter((line) => line["event"] === event) };
}
