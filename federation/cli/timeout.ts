import { ok, type Result } from "../model/result.ts";
import { type Failure, fail } from "./failure.ts";
import type { Invocation } from "./invocation.ts";
import { parseDuration } from "./output/duration.ts";

export function readTimeout({ flags }: Invocation, fallbackMs: number): Result<number, Failure> {
  const text = flags.text("timeout");
  if (text === undefined) return ok(fallbackMs);
  const parsed = parseDuration(text);
  return parsed === undefined || parsed === 0
    ? fail("usage", `--timeout ${text} is not a time`, { fix: "write 30s, 2m or 500ms" })
    : ok(parsed);
}
