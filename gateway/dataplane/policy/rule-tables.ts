import { serviceKey } from "../../../federation/model/service.ts";
import type {
  Snapshot,
  SnapshotBackend,
  SnapshotOrigin,
  SnapshotRateLimit,
  SnapshotRollout,
} from "../../../federation/model/snapshot.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import { matchWorkload } from "../../../federation/model/workload-pattern.ts";
import { UNLIMITED, type CircuitLimits } from "./circuit.ts";
import { octetsOf } from "./field-text.ts";
import type { Rate } from "./token-bucket.ts";

/** Rules about the traffic to one imported service, in order of precedence. */
export interface ServiceRules {
  readonly limits: readonly LimitRule[];
  readonly backends: readonly BackendRule[];
  readonly rollouts: readonly RolloutRule[];
}

interface Targeted {
  readonly name: string;
  readonly observe: boolean;
  /** Trust domain of the cluster that it is about; `undefined`: every one. */
  readonly destination: string | undefined;
}

export interface LimitRule extends Targeted {
  /** The same in every proxy of the cluster and across revisions: buckets are kept by it. */
  readonly key: string;
  readonly version: string | undefined;
  readonly from: readonly SnapshotOrigin[];
  readonly rate: Rate;
  readonly shared: boolean;
}

export interface BackendRule extends Targeted {
  readonly rule: SnapshotBackend;
  readonly circuit: CircuitLimits | undefined;
  /** Level and weight by trust domain. */
  readonly places: ReadonlyMap<string, Place>;
}

export interface Place {
  readonly priority: number;
  readonly weight: number;
}

export interface RolloutRule extends Targeted {
  readonly rule: SnapshotRollout;
}

/** By local name, `cart.shop`; services without rules are absent. */
export type RuleTables = ReadonlyMap<string, ServiceRules>;

export function compileRuleTables({ rules, federation }: Snapshot): RuleTables {
  const tables = new Map<string, { limits: LimitRule[]; backends: BackendRule[]; rollouts: RolloutRule[] }>();
  if (rules === undefined) return tables;
  const of = (service: SnapshotRateLimit["service"]) => {
    const key = serviceKey(service);
    const known = tables.get(key) ?? { limits: [], backends: [], rollouts: [] };
    tables.set(key, known);
    return known;
  };
  const domainOf = (cluster: string | undefined) => cluster && `${cluster}.${federation}`;
  for (const rule of rules.rateLimits)
    of(rule.service).limits.push(compileLimit(rule, domainOf(rule.cluster)));
  for (const rule of rules.backends) {
    of(rule.service).backends.push({
      name: rule.name,
      observe: rule.mode === "observe",
      destination: domainOf(rule.cluster),
      rule,
      circuit: rule.circuit && { ...UNLIMITED, ...rule.circuit },
      places: placesOf(rule, (cluster) => `${cluster}.${federation}`),
    });
  }
  for (const rule of rules.rollouts)
    of(rule.service).rollouts.push({
      name: rule.name,
      observe: rule.mode === "observe",
      destination: domainOf(rule.cluster),
      rule,
    });
  return tables;
}

function compileLimit(rule: SnapshotRateLimit, destination: string | undefined): LimitRule {
  return {
    name: rule.name,
    observe: rule.mode === "observe",
    destination,
    key: `${rule.name} ${serviceKey(rule.service)}`,
    version: rule.version,
    from: rule.from.map(compileOrigin),
    rate: { perMs: rule.requests / rule.unitMs, burst: rule.burst },
    shared: rule.scope === "Shared",
  };
}

/** As fields carry its value. */
function compileOrigin(origin: SnapshotOrigin): SnapshotOrigin {
  const { header } = origin;
  if (header === undefined) return origin;
  return { ...origin, header: { name: header.name, value: octetsOf(header.value) } };
}

function placesOf(
  { failover }: SnapshotBackend,
  domainOf: (cluster: string) => string,
): ReadonlyMap<string, Place> {
  const places = new Map<string, Place>();
  failover?.levels.forEach((level, priority) => {
    for (const { cluster, weight } of level) places.set(domainOf(cluster), { priority, weight });
  });
  return places;
}

/** Limits that can concern a caller: what its workload does not fit is never asked about again. */
export function limitsOf(rules: ServiceRules, caller: SpiffeId): readonly LimitRule[] {
  return rules.limits.flatMap((limit) => {
    if (limit.from.length === 0) return [limit];
    const from = limit.from.filter(
      ({ workload }) => workload === undefined || matchWorkload(workload, caller),
    );
    if (from.length === 0) return [];
    return [{ ...limit, from: from.some(({ header }) => header === undefined) ? [] : from }];
  });
}

/** The first rule that is about this destination. */
export function ruleFor<R extends Targeted>(rules: readonly R[], destination: string): R | undefined {
  for (const rule of rules)
    if (rule.destination === undefined || rule.destination === destination) return rule;
  return undefined;
}

/** The part of a request that says where it comes from. */
export interface RequestFields {
  /** By its name in lower case. */
  header(name: string): string | undefined;
}

/** Whether a limit is about a request: its origin, as far as only the request tells it, its destination and version. */
export function limitApplies(
  limit: LimitRule,
  destination: string,
  version: string | undefined,
  fields: RequestFields,
): boolean {
  if (limit.destination !== undefined && limit.destination !== destination) return false;
  if (limit.version !== undefined && limit.version !== version) return false;
  if (limit.from.length === 0) return true;
  for (const origin of limit.from)
    if (origin.header !== undefined && fields.header(origin.header.name) === origin.header.value) return true;
  return false;
}
