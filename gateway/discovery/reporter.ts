import type { Logger } from "../../federation/model/log.ts";
import { PROBLEMS } from "../../federation/model/problem.ts";
import type { MemberReport } from "../../federation/model/resource.ts";
import type { Service } from "../../federation/model/service.ts";
import type { Clock, Random } from "../process/clock.ts";
import type { MemberClient, MemberRequest } from "./member-client.ts";
import { createPush, type Push, type PushAnswer, type PushTimes } from "./push.ts";

export interface ReporterOptions {
  readonly client: MemberClient;
  readonly cluster: string;
  readonly member: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Asked at the moment of sending, so that a report never tells of the past. */
  readonly report: () => MemberReport;
  /** Gateways only: the complete list; `undefined` while it is not known, since an empty list would withdraw all. */
  readonly services?: () => readonly Service[] | undefined;
}

export interface Reporter {
  reportChanged(): void;
  servicesChanged(): void;
  /** The registry answers again after a silence. */
  reconnected(): void;
  stop(): void;
}

// Several changes come together when a snapshot is applied; a person does not notice 20 ms.
const GATHER_MS = 20;
// A third of what the registry allows before it calls a member silent.
const HEARTBEAT_MS = 10_000;
const BACKOFF = { baseMs: 100, capMs: 2000 };
const REPORT_TIMES: PushTimes = { gatherMs: GATHER_MS, heartbeatMs: HEARTBEAT_MS, backoff: BACKOFF };
const SERVICES_TIMES: PushTimes = { gatherMs: GATHER_MS, backoff: BACKOFF };

/** Tells the registry what this member applied and what its cluster offers. Starts with the first `…Changed`. */
export function createReporter(options: ReporterOptions): Reporter {
  const { cluster, member, clock, random, report, services } = options;
  const write = createWriter(options);
  const reports = createPush(clock, random, REPORT_TIMES, () =>
    write("report", { method: "PUT", path: `/v1/clusters/${cluster}/members/${member}`, body: report() }),
  );
  const pushes: Push[] = [reports];
  let servicesPush: Push | undefined;
  if (services !== undefined) {
    servicesPush = createPush(clock, random, SERVICES_TIMES, async () => {
      const known = services();
      if (known === undefined) return true;
      const path = `/v1/clusters/${cluster}/services`;
      return write("services", { method: "PUT", path, body: { services: known } });
    });
    pushes.push(servicesPush);
  }
  return {
    reportChanged: reports.changed,
    servicesChanged: () => servicesPush?.changed(),
    reconnected() {
      for (const push of pushes) push.reconnected();
    },
    stop() {
      for (const push of pushes) push.stop();
    },
  };
}

/** Sends, and logs where a failure begins, changes or ends: not at every attempt. */
function createWriter({
  client,
  log,
}: ReporterOptions): (what: string, request: MemberRequest) => Promise<PushAnswer> {
  const failing = new Map<string, string>();
  return async (what, request) => {
    const answer = await client.request(request);
    if (answer.ok) {
      if (failing.delete(what)) log.info("registry_write_recovered", { what });
      return true;
    }
    const { name, detail, retryAfterMs } = answer.error;
    if (failing.get(what) !== name)
      log.warn("registry_write_failed", { what, code: PROBLEMS[name].code, detail });
    failing.set(what, name);
    return retryAfterMs === undefined ? false : { retryAfterMs };
  };
}
