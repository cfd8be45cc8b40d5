import { PROBLEMS } from "../../federation/model/problem.ts";
import type { AdminHandlers, ProbeAnswer } from "./admin-server.ts";

/** The admin listener's answers before and after there is a member. */
export function createFront() {
  let reason = "starting";
  let member: AdminHandlers | undefined;
  const starting = async (): Promise<ProbeAnswer> => ({
    ok: false,
    code: PROBLEMS.identity_pending.code,
    detail: reason,
  });
  const handlers: AdminHandlers = {
    ready: () => member?.ready() ?? { ready: false, reason },
    metrics: () => member?.metrics() ?? "",
    status: () => (member === undefined ? { waiting: reason } : member.status()),
    probe: (request) => member?.probe(request) ?? starting(),
    get egress() {
      return member?.egress;
    },
  };
  return {
    handlers,
    waitFor(what: string): void {
      reason = what;
    },
    serve(by: AdminHandlers): void {
      member = by;
    },
  };
}
