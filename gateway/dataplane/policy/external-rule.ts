import { durationMs, timerMs } from "../../../federation/model/duration.ts";
import {
  type EgressMode,
  type EgressTls,
  type ExternalHttpRules,
  type ExternalTarget,
  portsOf,
  protocolOf,
} from "../../../federation/model/egress-policy.ts";
import { callerRank, placeRank, type RuleRank } from "../../../federation/model/egress-precedence.ts";
import { type Cidr, parseCidr } from "../../../federation/model/ip-address.ts";
import type { SnapshotEgressPolicy } from "../../../federation/model/snapshot.ts";
import type { WorkloadPattern } from "../../../federation/model/workload-pattern.ts";

/** One caller pattern, one external destination, and how it is spoken to. */
export interface ExternalRule {
  readonly policy: string;
  readonly mode: EgressMode;
  readonly rank: RuleRank;
  readonly hostname: string | undefined;
  readonly ports: readonly number[];
  readonly protocol: "http" | "tcp";
  readonly http: ExternalHttpRules | undefined;
  readonly tls: EgressTls | undefined;
  /** With a hostname: where its addresses must lie. */
  readonly within: Cidr | undefined;
  /** Ranges that the policy names: the guard does not hold for them. */
  readonly opened: readonly Cidr[];
  readonly limit: RateLimit | undefined;
  readonly timeouts: ExternalTimeouts;
}

export interface RateLimit {
  readonly requests: number;
  readonly intervalMs: number;
  readonly burst: number;
}

export interface ExternalTimeouts {
  readonly connectMs: number;
  readonly requestMs: number;
  readonly idleMs: number;
}

// Resolve, connect and handshake: several round trips around the world, and a bound on a peer that never answers.
const CONNECT_MS = 5_000;
const REQUEST_MS = 300_000;
const IDLE_MS = 600_000;
export const DEFAULT_TIMEOUTS: ExternalTimeouts = {
  connectMs: CONNECT_MS,
  requestMs: REQUEST_MS,
  idleMs: IDLE_MS,
};

export function compileRule(
  policy: SnapshotEgressPolicy,
  target: ExternalTarget,
  pattern: WorkloadPattern,
  position: number,
  opened: readonly Cidr[],
): ExternalRule {
  const own = cidrs(target.cidr);
  const { rateLimit, timeouts = {}, tls } = policy;
  return {
    policy: policy.name,
    mode: policy.mode,
    rank: {
      priority: policy.priority ?? 0,
      place: placeRank(target),
      caller: callerRank(pattern),
      policy: policy.name,
      position,
    },
    hostname: target.hostname,
    ports: portsOf(target),
    protocol: protocolOf(target, tls),
    http: target.http,
    tls,
    within: own[0],
    opened: [...own, ...opened],
    limit:
      rateLimit === undefined
        ? undefined
        : {
            requests: rateLimit.requests,
            intervalMs: durationMs(rateLimit.interval ?? "1s"),
            burst: rateLimit.burst ?? rateLimit.requests,
          },
    timeouts: {
      connectMs: timeouts.connect === undefined ? CONNECT_MS : timerMs(timeouts.connect),
      requestMs: timeouts.request === undefined ? REQUEST_MS : timerMs(timeouts.request),
      idleMs: timeouts.idle === undefined ? IDLE_MS : timerMs(timeouts.idle),
    },
  };
}

export function cidrs(text: string | undefined): readonly Cidr[] {
  const parsed = text === undefined ? undefined : parseCidr(text);
  return parsed?.ok === true ? [parsed.value] : [];
}
