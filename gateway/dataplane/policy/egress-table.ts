import { type EgressMode, portsOf } from "../../../federation/model/egress-policy.ts";
import { compareRanks } from "../../../federation/model/egress-precedence.ts";
import { cidrHas, type IpAddress, maskOf } from "../../../federation/model/ip-address.ts";
import { serviceKey } from "../../../federation/model/service.ts";
import type { SnapshotEgress, SnapshotEgressPolicy } from "../../../federation/model/snapshot.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import type { WorkloadPattern } from "../../../federation/model/workload-pattern.ts";
import { cidrs, compileRule, type ExternalRule } from "./external-rule.ts";
import { groupRules, type RuleGroup } from "./rule-group.ts";

/** Rules of one caller pattern, arranged so that a look-up costs the length of a name, whatever the number of rules. */
interface PlacesOf<R> {
  readonly names: Map<string, R>;
  /** By what follows `*.`. */
  readonly suffixes: Map<string, R>;
  /** By family, prefix length and masked value. */
  readonly ranges: Map<string, R>;
  readonly prefixes: Set<number>[];
  readonly services: Set<string>;
}
type Drafts = PlacesOf<ExternalRule[]>;
/** By port. */
type Places = PlacesOf<ReadonlyMap<number, readonly RuleGroup[]>>;

/** All egress policies of a cluster, compiled when a snapshot is published. */
export interface EgressTable {
  readonly enforced: boolean;
  readonly observed: boolean;
  /** By mode, then by caller pattern. */
  readonly enforcing: ReadonlyMap<WorkloadPattern, Places>;
  readonly observing: ReadonlyMap<WorkloadPattern, Places>;
  readonly policies: readonly SnapshotEgressPolicy[];
}

export function compileEgress({ policies }: SnapshotEgress): EgressTable {
  return {
    enforced: policies.some(({ mode }) => mode === "enforce"),
    observed: policies.some(({ mode }) => mode === "observe"),
    enforcing: compileMode(policies, "enforce"),
    observing: compileMode(policies, "observe"),
    policies,
  };
}

function compileMode(
  policies: readonly SnapshotEgressPolicy[],
  mode: EgressMode,
): ReadonlyMap<WorkloadPattern, Places> {
  const drafts = new Map<WorkloadPattern, Drafts>();
  for (const policy of policies) if (policy.mode === mode) addPolicy(drafts, policy);
  return new Map(Array.from(drafts, ([pattern, draft]) => [pattern, arrange(draft)]));
}

function addPolicy(index: Map<WorkloadPattern, Drafts>, policy: SnapshotEgressPolicy): void {
  const external = policy.external ?? [];
  const opened = external.flatMap(({ hostname, cidr }) => (hostname === undefined ? cidrs(cidr) : []));
  for (const pattern of policy.from) {
    const places = index.get(pattern) ?? emptyPlaces();
    index.set(pattern, places);
    for (const service of policy.to) places.services.add(serviceKey(service));
    external.forEach((target, position) =>
      addRule(places, compileRule(policy, target, pattern, position, opened)),
    );
  }
}

function emptyPlaces(): Drafts {
  return {
    names: new Map(),
    suffixes: new Map(),
    ranges: new Map(),
    prefixes: [new Set(), new Set()],
    services: new Set(),
  };
}

function addRule(places: Drafts, rule: ExternalRule): void {
  const { hostname, within } = rule;
  if (hostname?.startsWith("*.") === true) push(places.suffixes, hostname.slice(2), rule);
  else if (hostname !== undefined) push(places.names, hostname, rule);
  else if (within !== undefined) {
    places.prefixes[within.base.family === 4 ? 0 : 1]?.add(within.prefix);
    push(places.ranges, rangeKey(within.base, within.prefix), rule);
  }
}

function push(map: Map<string, ExternalRule[]>, key: string, rule: ExternalRule): void {
  const rules = map.get(key);
  if (rules === undefined) map.set(key, [rule]);
  else rules.push(rule);
}

function arrange({ names, suffixes, ranges, ...rest }: Drafts): Places {
  return { ...rest, names: grouped(names), suffixes: grouped(suffixes), ranges: grouped(ranges) };
}

function grouped(map: Drafts["names"]): Places["names"] {
  return new Map(
    Array.from(map, ([key, rules]) => [key, groupRules(rules.sort((a, b) => compareRanks(a.rank, b.rank)))]),
  );
}

function rangeKey({ family, value }: IpAddress, prefix: number): string {
  return `${family}/${prefix}/${value.toString(16)}`;
}

/** The five patterns that can fit a workload: there are no others (`WORKLOAD_PATTERN`). */
function patternsOf(caller: SpiffeId): readonly WorkloadPattern[] {
  const [, ns, namespace, sa, account, ...rest] = caller.path.split("/");
  if (ns !== "ns" || sa !== "sa" || rest.length > 0 || namespace === undefined || account === undefined)
    return ["*"];
  return [`ns/${namespace}/sa/${account}`, `ns/${namespace}/sa/*`, `ns/*/sa/${account}`, "ns/*/sa/*", "*"];
}

function placesFor(index: ReadonlyMap<WorkloadPattern, Places>, caller: SpiffeId): readonly Places[] {
  return patternsOf(caller).flatMap((pattern) => index.get(pattern) ?? []);
}

/** Every rule of the caller for a name and port. */
export function rulesForName(
  index: ReadonlyMap<WorkloadPattern, Places>,
  caller: SpiffeId,
  name: string,
  port: number,
): readonly RuleGroup[] {
  const found: RuleGroup[] = [];
  for (const { names, suffixes } of placesFor(index, caller)) {
    take(found, names.get(name), port);
    if (suffixes.size === 0) continue;
    for (let dot = name.indexOf("."); dot !== -1; dot = name.indexOf(".", dot + 1))
      take(found, suffixes.get(name.slice(dot + 1)), port);
  }
  return found;
}

/** Every rule of the caller for an address and port. */
export function rulesForAddress(
  index: ReadonlyMap<WorkloadPattern, Places>,
  caller: SpiffeId,
  address: IpAddress,
  port: number,
): readonly RuleGroup[] {
  const found: RuleGroup[] = [];
  for (const { ranges, prefixes } of placesFor(index, caller)) {
    for (const prefix of prefixes[address.family === 4 ? 0 : 1] ?? [])
      take(found, ranges.get(rangeKey(maskOf(address, prefix), prefix)), port);
  }
  return found;
}

function take(
  found: RuleGroup[],
  place: ReadonlyMap<number, readonly RuleGroup[]> | undefined,
  port: number,
): void {
  const groups = place?.get(port);
  if (groups !== undefined) found.push(...groups);
}

export function allowsService(
  index: ReadonlyMap<WorkloadPattern, Places>,
  caller: SpiffeId,
  service: string,
): boolean {
  return placesFor(index, caller).some(({ services }) => services.has(service));
}

/** Whether an address is one that a rule lets its name resolve to. */
export function liesWithin(rule: ExternalRule, address: IpAddress): boolean {
  return rule.hostname === undefined || rule.within === undefined || cidrHas(rule.within, address);
}

/** Whether any policy speaks of this caller and of the outside, or of nothing at all: then the ways out are opened for it. */
export function hasWaysOut({ policies }: EgressTable, caller: SpiffeId): boolean {
  const patterns = new Set(patternsOf(caller));
  return policies.some(
    ({ from, to, external = [] }) =>
      (external.length > 0 || to.length === 0) && from.some((pattern) => patterns.has(pattern)),
  );
}

/** The exact names and ports that policies of either mode give the caller: each gets a local address. */
export function namedHosts(
  { policies }: EgressTable,
  caller: SpiffeId,
): readonly { readonly hostname: string; readonly port: number }[] {
  const patterns = new Set(patternsOf(caller));
  const found = new Map<string, { readonly hostname: string; readonly port: number }>();
  for (const { from, external = [] } of policies) {
    if (external.length === 0 || !from.some((pattern) => patterns.has(pattern))) continue;
    for (const target of external) {
      const { hostname } = target;
      if (hostname === undefined || hostname.startsWith("*.")) continue;
      for (const port of portsOf(target)) found.set(`${hostname}:${port}`, { hostname, port });
    }
  }
  return [...found.values()];
}
