import { compareRanks } from "../../../federation/model/egress-precedence.ts";
import type { ExternalRule } from "./external-rule.ts";
import { hasTwoReadings } from "./path-readings.ts";

/** The rules of one caller pattern for one place, port and protocol, so arranged that a request does not try them one by one. */
export interface RuleGroup {
  readonly protocol: ExternalRule["protocol"];
  /** Of all rules of the group; what the requests are does not matter. */
  readonly first: ExternalRule;
  readonly anyPath: MethodRules;
  readonly exact: ReadonlyMap<string, MethodRules>;
  /** By the prefix as it is written: one that ends in a slash does not match the path without it. */
  readonly prefixes: ReadonlyMap<string, MethodRules>;
  /** 1 for each length that a prefix has, up to the longest: only so long beginnings of a path are looked up. */
  readonly prefixLengths: Uint8Array;
}

/** Of the rules that permit a path: the first for every method, and the first for a named one. */
interface MethodRules {
  anyMethod: ExternalRule | undefined;
  readonly named: Map<string, ExternalRule>;
}

const PROTOCOLS = ["http", "tcp"] as const;

/** Groups by port, then by protocol; `rules` come with the winning one first. */
export function groupRules(rules: readonly ExternalRule[]): ReadonlyMap<number, readonly RuleGroup[]> {
  const ports = new Map<number, ExternalRule[]>();
  for (const rule of rules) {
    for (const port of rule.ports) {
      const known = ports.get(port);
      if (known === undefined) ports.set(port, [rule]);
      else if (known.at(-1) !== rule) known.push(rule);
    }
  }
  const groups = new Map<number, readonly RuleGroup[]>();
  for (const [port, found] of ports)
    groups.set(
      port,
      PROTOCOLS.flatMap((protocol) => compileGroup(found.filter((rule) => rule.protocol === protocol))),
    );
  return groups;
}

function compileGroup(rules: readonly ExternalRule[]): RuleGroup[] {
  const [first] = rules;
  if (first === undefined) return [];
  const anyPath = noRules();
  const exact = new Map<string, MethodRules>();
  const prefixes = new Map<string, MethodRules>();
  let longestPrefix = 0;
  for (const rule of rules) {
    const paths = rule.http?.paths;
    if (paths === undefined) addRule(anyPath, rule);
    for (const { type, value } of paths ?? []) {
      const map = type === "Exact" ? exact : prefixes;
      const at = map.get(value) ?? noRules();
      map.set(value, at);
      addRule(at, rule);
      if (type === "PathPrefix") longestPrefix = Math.max(longestPrefix, value.length);
    }
  }
  const prefixLengths = new Uint8Array(longestPrefix + 1);
  for (const value of prefixes.keys()) prefixLengths[value.length] = 1;
  return [{ protocol: first.protocol, first, anyPath, exact, prefixes, prefixLengths }];
}

const noRules = (): MethodRules => ({ anyMethod: undefined, named: new Map() });

/** Rules come in their order: the first one stays. */
function addRule(at: MethodRules, rule: ExternalRule): void {
  const methods = rule.http?.methods;
  if (methods === undefined) at.anyMethod ??= rule;
  for (const method of methods ?? []) if (!at.named.has(method)) at.named.set(method, rule);
}

/** The winning rule of the groups that permits the request, in time that does not grow with the number of rules. */
export function permittingRule(
  groups: readonly RuleGroup[],
  method: string,
  path: string,
): ExternalRule | undefined {
  let isPlain: boolean | undefined;
  let found: ExternalRule | undefined;
  for (const { anyPath, exact, prefixes, prefixLengths } of groups) {
    found = better(found, anyPath, method);
    if (exact.size === 0 && prefixes.size === 0) continue;
    isPlain ??= !hasTwoReadings(path);
    if (!isPlain) continue;
    if (exact.size > 0) found = better(found, exact.get(path), method);
    const deepest = prefixLengths.length;
    if (prefixLengths[path.length] === 1) found = better(found, prefixes.get(path), method);
    for (let at = path.indexOf("/"); at !== -1 && at < deepest; at = path.indexOf("/", at + 1)) {
      if (prefixLengths[at] === 1) found = better(found, prefixes.get(path.slice(0, at)), method);
      // The whole path was looked up already.
      if (prefixLengths[at + 1] === 1 && at + 1 < path.length)
        found = better(found, prefixes.get(path.slice(0, at + 1)), method);
    }
  }
  return found;
}

function better(
  found: ExternalRule | undefined,
  rules: MethodRules | undefined,
  method: string,
): ExternalRule | undefined {
  if (rules === undefined) return found;
  return firstOf(
    firstOf(found, rules.anyMethod),
    rules.named.size === 0 ? undefined : rules.named.get(method),
  );
}

/** The one of two that wins. */
export function firstOf(a: ExternalRule | undefined, b: ExternalRule | undefined): ExternalRule | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compareRanks(a.rank, b.rank) <= 0 ? a : b;
}
