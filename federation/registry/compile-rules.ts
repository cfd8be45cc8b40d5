// Longer than other files: a few lines for each part of each rule, read side by side.
import { durationMs } from "../model/duration.ts";
import type {
  BackendTrafficPolicyResource,
  RateLimitResource,
  RolloutResource,
  RuleResource,
} from "../model/resource.ts";
import type {
  SnapshotBackend,
  SnapshotImport,
  SnapshotOrigin,
  SnapshotRateLimit,
  SnapshotRollout,
  SnapshotRules,
} from "../model/snapshot.ts";
import type {
  BackendTrafficPolicySpec,
  Origin,
  RateLimitSpec,
  RuleMode,
  TargetRef,
} from "../model/traffic-policy.ts";
import { rolloutVersions } from "./rollout-versions.ts";
import { type ClusterState, type FederationState, trustDomainOf } from "./state.ts";

const UNIT_MS = { Second: 1_000, Minute: 60_000, Hour: 3_600_000 } as const;
/** Of the limit: so few at once that no unit of time sees more than 105 % of it. */
const BURST_PART = 0.05;
const ENFORCE: RuleMode = "enforce";
/** Envoy's figures, but for the ejected share: with two or three endpoints its 10 % would eject nobody. */
const OVERPROVISIONING_PERCENT = 140;
const PANIC_THRESHOLD_PERCENT = 50;
const FAILBACK_DELAY = "5s";
const FAILBACK_RAMP = "10s";
const OUTLIER = { errors: 5, base: "30s", max: "300s", percent: 50 } as const;
/** Of XBackendTrafficPolicy (GEP-3388). */
const RETRY = { percent: 20, interval: "10s", minCount: 10, minInterval: "1s" } as const;

/** A rule that concerns an import, and whose it is: the importing cluster's own ones come first. */
interface Applicable<R extends RuleResource> {
  readonly rule: R;
  readonly imported: SnapshotImport;
  /** The rule is the owner's: it is about what goes to the owner's cluster only. */
  readonly owner?: string;
}

/** Rules of a cluster about what it imports, and those of the owners about their services; `undefined` where there are none. */
export function compileRules(
  state: FederationState,
  cluster: ClusterState,
  imports: readonly SnapshotImport[],
): SnapshotRules | undefined {
  if (!isRuled(state, cluster, imports)) return undefined;
  const rateLimits: SnapshotRateLimit[] = [];
  const backends: SnapshotBackend[] = [];
  const rollouts: SnapshotRollout[] = [];
  for (const sources of Map.groupBy(imports, ({ namespace, name }) => `${namespace}/${name}`).values()) {
    const found = rulesFor(state, cluster, sources);
    rateLimits.push(
      ...found
        .filter(isOf("RateLimit"))
        .flatMap((applicable) => compileRateLimit(state, cluster, applicable)),
    );
    backends.push(...inForce(found.filter(isOf("BackendTrafficPolicy"))).map(compileBackend));
    rollouts.push(
      ...inForce(found.filter(isOf("Rollout"))).flatMap((applicable) => compileRollout(state, applicable)),
    );
  }
  if (rateLimits.length + backends.length + rollouts.length === 0) return undefined;
  return { rateLimits, backends, rollouts };
}

/** Most clusters have no rules, and nothing about a hundred imports has to be looked up for that. */
function isRuled(
  state: FederationState,
  { rules }: ClusterState,
  imports: readonly SnapshotImport[],
): boolean {
  if (rules.size > 0) return true;
  return ownersOf(imports).some((owner) => (state.clusters.get(owner)?.rules.size ?? 0) > 0);
}

/** The clusters that something is imported from. */
export function ownersOf(imports: readonly SnapshotImport[]): readonly string[] {
  return [...new Set(imports.map(({ from }) => from.cluster))];
}

function isOf<K extends RuleResource["kind"]>(kind: K) {
  return (
    found: Applicable<RuleResource>,
  ): found is Applicable<Extract<RuleResource, { readonly kind: K }>> => found.rule.kind === kind;
}

/**
 * Of policies and rollouts only the first counts: the consumer's for the whole service, else the owner's for each source. One that
 * only observes stands behind those in force: to observe must change nothing.
 */
function inForce<R extends BackendTrafficPolicyResource | RolloutResource>(
  found: readonly Applicable<R>[],
): readonly Applicable<R>[] {
  const seenOwners = new Set<string | undefined>();
  const observes = ({ rule }: Applicable<R>) => rule.spec.mode === "observe";
  const ordered = found.toSorted((a, b) => Number(observes(a)) - Number(observes(b)));
  return ordered.filter(({ owner }) => {
    if (seenOwners.has(undefined) || seenOwners.has(owner)) return false;
    seenOwners.add(owner);
    return true;
  });
}

/**
 * In the order of precedence: the consumer's before the owners', then the one that the federation saw first, as the Gateway
 * API settles conflicts of policies. `sources` are the imports of one local name, one for each cluster that has the service.
 */
function rulesFor(
  state: FederationState,
  cluster: ClusterState,
  sources: readonly SnapshotImport[],
): readonly Applicable<RuleResource>[] {
  const [imported] = sources;
  if (imported === undefined) return [];
  const own = rulesAbout(cluster, "ServiceImport", imported.namespace, imported.name);
  const owners = sources.flatMap(({ from: { cluster: owner, namespace, name } }) => {
    const exporter = state.clusters.get(owner);
    const rules = exporter === undefined ? [] : rulesAbout(exporter, "Service", namespace, name);
    return rules.map((rule) => ({ rule, imported, owner }));
  });
  return [...own.map((rule) => ({ rule, imported })), ...owners];
}

const BY_TARGET = new WeakMap<ClusterState["rules"], ReadonlyMap<string, readonly RuleResource[]>>();

function rulesAbout(
  cluster: ClusterState,
  kind: TargetRef["kind"],
  namespace: string,
  name: string,
): readonly RuleResource[] {
  let index = BY_TARGET.get(cluster.rules);
  if (index === undefined) {
    index = indexByTarget(cluster.rules);
    BY_TARGET.set(cluster.rules, index);
  }
  return index.get(`${kind}/${namespace}/${name}`) ?? [];
}

function indexByTarget(rules: ClusterState["rules"]): ReadonlyMap<string, readonly RuleResource[]> {
  const index = new Map<string, RuleResource[]>();
  const ordered = [...rules.values()].sort(
    (a, b) => compare(seen(a), seen(b)) || compare(a.metadata.name, b.metadata.name),
  );
  for (const rule of ordered) {
    for (const { kind, name } of targetsOf(rule)) {
      const key = `${kind}/${rule.metadata.namespace}/${name}`;
      index.set(key, [...(index.get(key) ?? []), rule]);
    }
  }
  return index;
}

/** What a rule is about; the names are in its own namespace. */
export function targetsOf(rule: RuleResource): readonly TargetRef[] {
  if (rule.kind === "Rollout") return [rule.spec.targetRef];
  return rule.spec.targetRefs ?? [];
}

function seen(rule: RuleResource): string {
  return rule.metadata.firstSeen ?? "";
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function headOf<R extends RuleResource>({ rule, imported, owner }: Applicable<R>) {
  const { cluster, namespace, name } = rule.metadata;
  return {
    name: `${cluster}/${namespace}/${name}`,
    service: { namespace: imported.namespace, name: imported.name },
    ...(owner === undefined ? {} : { cluster: owner }),
  };
}

/** Nothing where no request of this cluster can fit. */
function compileRateLimit(
  state: FederationState,
  cluster: ClusterState,
  applicable: Applicable<RateLimitResource>,
): readonly SnapshotRateLimit[] {
  const { spec } = applicable.rule;
  const from = spec.from?.flatMap((origin) => compileOrigin(state, cluster, origin));
  if (from?.length === 0) return [];
  return [
    {
      ...headOf(applicable),
      ...(spec.version === undefined ? {} : { version: spec.version }),
      // An origin that every request of this cluster fits makes the others idle.
      from: from === undefined || from.some((origin) => Object.keys(origin).length === 0) ? [] : from,
      ...compileRate(spec),
      scope: spec.scope ?? "Shared",
      mode: spec.mode ?? ENFORCE,
    },
  ];
}

function compileRate({ limit }: RateLimitSpec): Pick<SnapshotRateLimit, "requests" | "unitMs" | "burst"> {
  const burst = limit.burst ?? Math.max(1, Math.floor(limit.requests * BURST_PART));
  return { requests: limit.requests, unitMs: UNIT_MS[limit.unit], burst };
}

/** What is left of an origin for the proxies of one cluster to judge; nothing where it means other clusters. */
function compileOrigin(
  state: FederationState,
  { record }: ClusterState,
  { workload, namespace, cluster, trustDomain, header }: Origin,
): readonly SnapshotOrigin[] {
  if (cluster !== undefined && cluster !== record.name) return [];
  if (trustDomain !== undefined && trustDomain !== trustDomainOf(state.federation, record.name)) return [];
  const pattern = workload ?? (namespace === undefined ? undefined : `ns/${namespace}/sa/*`);
  // Both at once: only a pattern of that namespace can fit.
  if (workload !== undefined && namespace !== undefined && !mayBeIn(workload, namespace)) return [];
  const narrowed = workload !== undefined && namespace !== undefined ? within(workload, namespace) : pattern;
  return [
    {
      ...(narrowed === undefined ? {} : { workload: narrowed }),
      ...(header === undefined ? {} : { header: { name: header.name.toLowerCase(), value: header.value } }),
    },
  ];
}

export function mayBeIn(pattern: string, namespace: string): boolean {
  const [, named] = pattern.split("/");
  return pattern === "*" || named === "*" || named === namespace;
}

export function within(pattern: string, namespace: string): string {
  const [, , , account = "*"] = pattern.split("/");
  return `ns/${namespace}/sa/${account}`;
}

function compileBackend(applicable: Applicable<BackendTrafficPolicyResource>): SnapshotBackend {
  const { spec } = applicable.rule;
  const { circuitBreaker: circuit } = spec;
  return {
    ...headOf(applicable),
    mode: spec.mode ?? ENFORCE,
    ...compileFailover(spec),
    ...compileOutlier(spec),
    ...(circuit === undefined ? {} : { circuit }),
    ...compileSession(spec),
    ...compileRetry(spec),
  };
}

function compileFailover({ failover }: BackendTrafficPolicySpec): Pick<SnapshotBackend, "failover"> {
  if (failover === undefined) return {};
  const { priorities = [], overprovisioningPercent, panicThresholdPercent, failback } = failover;
  return {
    failover: {
      levels: priorities.map(({ clusters }) =>
        clusters.map(({ cluster, weight = 1 }) => ({ cluster, weight })),
      ),
      overprovisioning: (overprovisioningPercent ?? OVERPROVISIONING_PERCENT) / 100,
      panicThreshold: (panicThresholdPercent ?? PANIC_THRESHOLD_PERCENT) / 100,
      failbackDelayMs: durationMs(failback?.delay ?? FAILBACK_DELAY),
      failbackRampMs: durationMs(failback?.ramp ?? FAILBACK_RAMP),
    },
  };
}

function compileOutlier({
  outlierDetection: given,
}: BackendTrafficPolicySpec): Pick<SnapshotBackend, "outlier"> {
  if (given === undefined) return {};
  return {
    outlier: {
      consecutiveErrors: given.consecutiveErrors ?? OUTLIER.errors,
      baseEjectionMs: durationMs(given.baseEjectionTime ?? OUTLIER.base),
      maxEjectionMs: durationMs(given.maxEjectionTime ?? OUTLIER.max),
      maxEjectionPercent: given.maxEjectionPercent ?? OUTLIER.percent,
    },
  };
}

function compileSession({
  sessionPersistence: given,
}: BackendTrafficPolicySpec): Pick<SnapshotBackend, "session"> {
  if (given === undefined) return {};
  const { absoluteTimeout } = given;
  return {
    session: {
      name: given.sessionName,
      type: given.type ?? "Cookie",
      ...(absoluteTimeout === undefined ? {} : { absoluteTimeoutMs: durationMs(absoluteTimeout) }),
      permanent: given.cookieConfig?.lifetimeType === "Permanent",
    },
  };
}

function compileRetry({ retryConstraint: given }: BackendTrafficPolicySpec): Pick<SnapshotBackend, "retry"> {
  if (given === undefined) return {};
  return {
    retry: {
      percent: given.budget?.percent ?? RETRY.percent,
      intervalMs: durationMs(given.budget?.interval ?? RETRY.interval),
      minCount: given.minRetryRate?.count ?? RETRY.minCount,
      minIntervalMs: durationMs(given.minRetryRate?.interval ?? RETRY.minInterval),
    },
  };
}

/** One that has not begun keeps requests from the canary, but does not send them all to a version that is not there. */
function compileRollout(
  state: FederationState,
  applicable: Applicable<RolloutResource>,
): readonly SnapshotRollout[] {
  const { rule } = applicable;
  const { stable, canary } = rule.spec;
  if (rule.progress === undefined && rolloutVersions(state, rule).missing.includes(stable.version)) return [];
  const versions = { stable: stable.version, canary: canary.version };
  if (rule.spec.mode !== "observe")
    return [{ ...headOf(applicable), ...versions, weight: rule.progress?.weight ?? 0 }];
  const [first] = rule.spec.steps;
  const weight = rule.progress === undefined ? 0 : (first?.setWeight ?? 0);
  return [{ ...headOf(applicable), ...versions, weight, mode: "observe" }];
}
