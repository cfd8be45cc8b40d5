import { PROBLEMS } from "../../model/problem.ts";
import type { ClusterStatus, MemberStatus, TunnelStatus } from "../../model/resource.ts";
import { renderAge, renderDuration } from "../output/duration.ts";
import { type CheckResult, passed } from "./result.ts";

const DAY_MS = 86_400_000;
// A cluster CA lives for months and is renewed after two thirds of that: so little left means that renewing fails.
const CA_WARNING_MS = 7 * DAY_MS;
// Members report every ten seconds: three reports in a row are missing.
const STALE_MS = 30_000;

export function checkCluster(cluster: ClusterStatus, now: number): readonly CheckResult[] {
  const category = `cluster ${cluster.name}`;
  if (cluster.state === "pending") {
    return [
      {
        category,
        name: "it has joined",
        status: "warning",
        detail: `registered ${renderAge(cluster.registeredAt, now)}, never joined`,
        fix: `isthmus cluster register ${cluster.name} prints a new token and the next command`,
      },
    ];
  }
  return [
    checkCa(category, cluster, now),
    checkGateways(category, cluster, now),
    ...cluster.members.map((member) => checkMember(category, cluster, member, now)),
    ...cluster.members.flatMap((member) => checkTunnels(category, member, now)),
  ];
}

function checkCa(category: string, { caNotAfter }: ClusterStatus, now: number): CheckResult {
  const name = "its CA certificate is valid";
  const left = caNotAfter === undefined ? Number.NaN : Date.parse(caNotAfter) - now;
  if (Number.isNaN(left))
    return { category, name, status: "warning", detail: "the registry does not say until when" };
  if (left >= CA_WARNING_MS) return passed(category, name, `for ${renderDuration(left)}`);
  const fix = "a running gateway renews it: start one, and read what it logs about cluster_ca_not_renewed";
  if (left > 0) return { category, name, status: "warning", detail: `only for ${renderDuration(left)}`, fix };
  const { code } = PROBLEMS.peer_certificate_expired;
  return { category, name, status: "failed", detail: `it expired ${renderAge(caNotAfter, now)}`, code, fix };
}

function checkGateways(category: string, { members }: ClusterStatus, now: number): CheckResult {
  const name = "a gateway is there";
  const gateways = members.filter((member) => member.role === "gateway" && isFresh(member, now));
  if (gateways.length > 0) {
    return passed(
      category,
      name,
      gateways.map(({ member, advertise }) => `${member} at ${advertise ?? "?"}`).join(", "),
    );
  }
  const { code } = PROBLEMS.gateway_unreachable;
  return {
    category,
    name,
    status: "failed",
    detail: "none has reported lately",
    code,
    fix: "isthmus gateway --help",
  };
}

function checkMember(
  category: string,
  { snapshotRevision }: ClusterStatus,
  member: MemberStatus,
  now: number,
): CheckResult {
  const name = `${member.member} is up to date`;
  if (!isFresh(member, now)) {
    return {
      category,
      name,
      status: "failed",
      detail: `last seen ${renderAge(member.lastSeen, now)}; it goes on with revision ${member.appliedRevision} if it runs`,
      code: PROBLEMS.registry_unreachable.code,
      fix: `start ${member.member}, or let it reach the registry`,
    };
  }
  if (member.state === "refused") {
    const row = Object.values(PROBLEMS).find(({ code }) => code === member.code);
    const detail = `it refused revision ${snapshotRevision}: ${row?.title ?? member.code ?? "no reason given"}`;
    return {
      category,
      name,
      status: "failed",
      detail,
      ...(member.code === undefined ? {} : { code: member.code }),
      fix: row?.fix ?? "read its log",
    };
  }
  if (member.appliedRevision >= snapshotRevision) {
    return passed(
      category,
      name,
      `revision ${member.appliedRevision}, seen ${renderAge(member.lastSeen, now)}`,
    );
  }
  const detail = `revision ${member.appliedRevision} of ${snapshotRevision}`;
  return { category, name, status: "warning", detail, fix: "it should catch up within seconds: check again" };
}

/** One line for all that are up, one for each that is not. */
function checkTunnels(category: string, member: MemberStatus, now: number): readonly CheckResult[] {
  if (!isFresh(member, now) || member.tunnels.length === 0) return [];
  const up = member.tunnels.filter(({ state }) => state === "up");
  const others = member.tunnels.filter(({ state }) => state !== "up");
  const ends = [...new Set(up.map(({ cluster }) => cluster))].toSorted().join(", ");
  const fine =
    up.length === 0
      ? []
      : [passed(category, `${member.member} has its tunnels`, `${up.length} up, to ${ends}`)];
  return [...fine, ...others.map((tunnel) => checkTunnel(category, member, tunnel))];
}

function checkTunnel(
  category: string,
  member: MemberStatus,
  { cluster, address, state, code }: TunnelStatus,
): CheckResult {
  const row = Object.values(PROBLEMS).find((problem) => problem.code === code);
  return {
    category,
    name: `${member.member} reaches ${cluster} at ${address}`,
    // Tunnels are made when they are needed, so one that is just connecting is no failure yet.
    status: state === "connecting" && code === undefined ? "warning" : "failed",
    detail: row === undefined ? state : `${state}: ${row.title}`,
    ...(code === undefined ? {} : { code }),
    fix: row?.fix ?? `let ${member.member} reach ${address}: firewall, address, or the process there`,
  };
}

export function isFresh(member: MemberStatus, now: number): boolean {
  return now - Date.parse(member.lastSeen) < STALE_MS;
}
