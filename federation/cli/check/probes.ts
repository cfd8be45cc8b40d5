import { parseAddress } from "../../model/address.ts";
import { PROBLEMS } from "../../model/problem.ts";
import type { ClusterStatus, MemberStatus, WorkloadListenerStatus } from "../../model/resource.ts";
import { isFresh } from "./cluster-checks.ts";
import { type CheckResult, passed, skipped } from "./result.ts";

const CATEGORY = "calls";
// Each probe goes all the way to a workload: a sample of a large federation is enough to see whether calls work.
export const MAX_PROBES = 40;
const PARALLEL = 4;

/** One call to try: this member makes it as that workload. */
export interface Probe {
  readonly cluster: string;
  readonly member: string;
  /** Where the member takes such requests. */
  readonly admin: string | undefined;
  readonly workload: string;
  readonly service: string;
  readonly port: number;
}

/** What the member answered; `unreachable`: it did not. */
export type ProbeAnswer =
  | { readonly kind: "answered"; readonly latencyMs: number }
  | { readonly kind: "refused"; readonly code: string; readonly detail: string }
  | { readonly kind: "unreachable"; readonly detail: string };

/** Every workload's way to every service that it can name, once, whichever members serve it. */
export function planProbes(clusters: readonly ClusterStatus[], now: number): readonly Probe[] {
  const probes = new Map<string, Probe>();
  for (const { name: cluster, members } of clusters) {
    for (const member of members.filter((candidate) => isFresh(candidate, now))) {
      for (const listener of member.listeners) {
        // A way out leads to somebody else's server: nothing to try without being asked.
        if (listener.way !== undefined) continue;
        const key = `${cluster} ${listener.workload} ${listener.service}:${listener.port}`;
        if (!probes.has(key)) probes.set(key, probeOf(cluster, member, listener));
      }
    }
  }
  return [...probes.values()];
}

function probeOf(cluster: string, member: MemberStatus, listener: WorkloadListenerStatus): Probe {
  const { workload, service, port } = listener;
  return { cluster, member: member.member, admin: member.admin, workload, service, port };
}

/** Tries them, a few at a time, in order. */
export async function runProbes(
  probes: readonly Probe[],
  ask: (probe: Probe) => Promise<ProbeAnswer>,
): Promise<readonly CheckResult[]> {
  const chosen = probes.slice(0, MAX_PROBES);
  const results: CheckResult[] = [];
  for (let first = 0; first < chosen.length; first += PARALLEL) {
    const some = chosen.slice(first, first + PARALLEL);
    results.push(...(await Promise.all(some.map(async (probe) => judgeProbe(probe, await ask(probe))))));
  }
  if (probes.length > chosen.length) {
    results.push(
      skipped(CATEGORY, `${probes.length - chosen.length} more calls`, `${MAX_PROBES} are tried at a time`),
    );
  }
  if (results.length === 0)
    results.push(
      skipped(CATEGORY, "an end-to-end call", "no workload has an address of an imported service"),
    );
  return results;
}

export function judgeProbe(probe: Probe, answer: ProbeAnswer): CheckResult {
  const call = `${probe.cluster} ${probe.workload} calls ${probe.service}:${probe.port}`;
  switch (answer.kind) {
    case "answered":
      return passed(CATEGORY, call, `reached in ${answer.latencyMs.toFixed(1)} ms`);
    case "unreachable":
      return skipped(
        CATEGORY,
        call,
        `${probe.member} takes probes at ${probe.admin ?? "no address"}, not reachable from here: ${answer.detail}`,
      );
    case "refused": {
      // What the owner or the caller's own cluster forbids, and is refused, works as it should.
      if (isPolicy(answer.code))
        return passed(CATEGORY, call, `refused by policy, ${answer.code}: ${answer.detail}`);
      const fix = Object.values(PROBLEMS).find(({ code }) => code === answer.code)?.fix ?? "isthmus explain";
      return {
        category: CATEGORY,
        name: call,
        status: "failed",
        detail: answer.detail,
        code: answer.code,
        fix,
      };
    }
  }
}

function isPolicy(code: string): boolean {
  return code === PROBLEMS.export_denied.code || code === PROBLEMS.egress_denied.code;
}

/** Asks the member's own listener for health and probes. */
export async function askMember(probe: Probe, timeoutMs: number): Promise<ProbeAnswer> {
  const { admin, workload, service, port } = probe;
  if (admin === undefined || !parseAddress(admin).ok)
    return { kind: "unreachable", detail: "it reports none" };
  const query = new URLSearchParams({ workload, service, port: String(port) });
  try {
    const response = await fetch(`http://${admin}/probe?${query.toString()}`, {
      signal: AbortSignal.timeout(timeoutMs),
    });
    return readAnswer(await response.json());
  } catch (error) {
    return { kind: "unreachable", detail: reasonOf(error) };
  }
}

export function readAnswer(body: unknown): ProbeAnswer {
  if (typeof body === "object" && body !== null && "ok" in body) {
    if (body.ok === true && "latencyMs" in body && typeof body.latencyMs === "number") {
      return { kind: "answered", latencyMs: body.latencyMs };
    }
    if (body.ok === false && "code" in body && "detail" in body) {
      return { kind: "refused", code: String(body.code), detail: String(body.detail) };
    }
  }
  return { kind: "unreachable", detail: "something else answers there" };
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}
