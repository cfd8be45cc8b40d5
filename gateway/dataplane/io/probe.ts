import { type Problem, PROBLEMS, problem } from "../../../federation/model/problem.ts";
import { err, ok, type Result } from "../../../federation/model/result.ts";
import type { Entry } from "./entry.ts";
import { lossOf, refusalOf } from "./forward.ts";
import type { ListenerKey, ListenerSet } from "./listener-set.ts";
import { ignore } from "./relay.ts";
import { TUNNEL_HEADER } from "./tunnel-settings.ts";
import { ErrorCode } from "./tunnel-stream.ts";

const PROBE_TIMEOUT_MS = 5_000;

export type ProbeOutcome =
  | { readonly ok: true; readonly latencyMs: number; readonly caller: string }
  | { readonly ok: false; readonly code: string; readonly detail: string };

/** Probes the way of one workload to one service port, as its own traffic would take it. */
export async function probeListener(
  listeners: ListenerSet,
  key: ListenerKey,
  monotonicMs: () => number,
): Promise<ProbeOutcome> {
  const entry = listeners.find(key)?.entry;
  const outcome =
    entry === undefined
      ? err(problem("not_imported", `${key.workload} has no address for ${key.service}:${key.port} here`))
      : await probeEntry(entry, monotonicMs);
  if (outcome.ok) return { ok: true, latencyMs: outcome.value, caller: entry?.key.caller.uri ?? "" };
  return { ok: false, code: PROBLEMS[outcome.error.name].code, detail: outcome.error.detail };
}

/** Goes up to an accepted connection at the workload and sends nothing; answers how long that took, in milliseconds. */
function probeEntry(entry: Entry, monotonicMs: () => number): Promise<Result<number, Problem>> {
  return new Promise((resolve) => {
    const startedMs = monotonicMs();
    const target = entry.decideConnection();
    if (target.kind === "refuse") return resolve(err(target.problem));
    const stream = entry.open(target, ignore, { extra: { [TUNNEL_HEADER.probe]: "1" } });
    if (stream === undefined) return resolve(err(entry.unavailable(target)));
    const finish = (outcome: Result<number, Problem>): void => {
      clearTimeout(timer);
      resolve(outcome);
      stream.close(ErrorCode.noError);
    };
    const timer = setTimeout(
      () => finish(err(problem("upstream_timeout", "no answer to the probe"))),
      PROBE_TIMEOUT_MS,
    );
    stream.once("response", (headers) => {
      if (headers[":status"] === 200) finish(ok(monotonicMs() - startedMs));
      else finish(err(refusalOf(headers)));
    });
    stream.once("close", () => finish(err(lossOf(stream.rstCode))));
    stream.on("error", ignore);
    stream.resume();
  });
}
