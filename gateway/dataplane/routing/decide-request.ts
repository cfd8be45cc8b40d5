import { type Problem, problem } from "../../../federation/model/problem.ts";
import { serviceKey, type ServiceName } from "../../../federation/model/service.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import { matchWorkload } from "../../../federation/model/workload-pattern.ts";
import { opaqueName, type SessionTarget } from "../balance/session-token.ts";
import type { BroughtSession } from "../policy/session.ts";
import {
  backendAt,
  type BackendEdits,
  type BackendSelector,
  type CompiledBackend,
  type CompiledFault,
  type CompiledRule,
  ownSelector,
  sumOfWeights,
} from "./compile-rule.ts";
import { decideImport, decideSources, type EntryForward, ofVersion, refuse, type Refuse } from "./decide.ts";
import { redirectLocation } from "./redirect.ts";
import type { RequestView } from "./request-view.ts";
import type { Found, RouteTable } from "./route-table.ts";
import { importOf, type RouteTables } from "./tables.ts";

/** Where chance decides, and what is known of the clusters that have the service. */
export interface Dice {
  /** In [0, 1). */
  random(): number;
  /** Of one rule's weights: a sequence that keeps close to them over any number of requests. */
  split(rule: CompiledRule): number;
  /** One of several clusters, by priority, weight and readiness. */
  pick(sources: readonly EntryForward[]): EntryForward | undefined;
  /** The session that a request brings; asked only where several backends are to choose from. */
  session(request: RequestView): BroughtSession | undefined;
}

/** Go on to `target`. */
export interface ForwardRequest {
  readonly kind: "forward";
  readonly target: EntryForward;
  /** What the rule that matched adds; `undefined` where no route is about the service. */
  readonly routed: Routed | undefined;
}

export interface Routed {
  readonly rule: CompiledRule;
  readonly edits: BackendEdits;
  /** What the match took of the path, for `ReplacePrefixMatch`. */
  readonly prefix: string;
  /** A fault: wait so long before anything is sent. */
  readonly delayMs: number;
  /** Who gets a copy. */
  readonly mirrors: readonly EntryForward[];
  /** Among what the target was chosen: where another try may go. */
  readonly sources: readonly EntryForward[];
}

/** Answer at once, as a rule says. */
export interface RedirectRequest {
  readonly kind: "redirect";
  readonly rule: CompiledRule;
  readonly status: number;
  readonly location: string;
}

/** A fault: fail with this status, after `delayMs`. */
export interface AbortRequest {
  readonly kind: "abort";
  readonly rule: CompiledRule;
  readonly problem: Problem;
  readonly status: number;
  readonly grpcCode: number | undefined;
  readonly delayMs: number;
}

export type RequestDecision = ForwardRequest | RedirectRequest | AbortRequest | Refuse;

/** What one caller may do with one port of one imported service: made when the rules change, read by every request. */
export interface EntryRules {
  readonly caller: SpiffeId;
  readonly port: number;
  readonly service: ServiceName;
  readonly sources: readonly EntryForward[];
  /** The answer to every request, where none has to be looked at. */
  readonly always: RequestDecision | undefined;
  readonly routes: RouteTable<CompiledRule> | undefined;
  /** Rules that only observe. */
  readonly observed: RouteTable<CompiledRule> | undefined;
  /** Where a selector leads for this caller. */
  readonly resolve: (selector: BackendSelector) => readonly EntryForward[] | Refuse;
}

const NO_MIRRORS: readonly EntryForward[] = [];

export function compileEntry(
  tables: RouteTables | undefined,
  caller: SpiffeId,
  service: ServiceName,
  port: number,
  forOthers = false,
): EntryRules {
  const decided = decideSources(tables, caller, service, port);
  const refusal = "kind" in decided ? decided : undefined;
  const permitted = "kind" in decided ? [] : decided;
  const others = forOthers ? permitted.filter(({ local }) => !local) : permitted;
  const sources = others.length === 0 ? permitted : others;
  const [, , namespace = ""] = caller.path.split("/");
  const all = refusal === undefined ? tables?.routes.get(serviceKey(service)) : undefined;
  const routes = all?.table("enforce", port, namespace);
  const [only] = sources;
  const isPlain = routes === undefined && only !== undefined && sources.length === 1;
  return {
    caller,
    port,
    service,
    sources,
    always: refusal ?? (isPlain ? { kind: "forward", target: only, routed: undefined } : undefined),
    routes,
    observed: all?.table("observe", port, namespace),
    resolve: memoized((selector) => resolveBackend(tables, caller, selector, port)),
  };
}

/** Decides one request: pure, synchronous, the same for HTTP/1.1, HTTP/2 and gRPC. */
export function decideRequest(rules: EntryRules, request: RequestView, dice: Dice): RequestDecision {
  if (rules.always !== undefined) return rules.always;
  if (rules.routes === undefined) {
    const target = dice.pick(rules.sources);
    return target === undefined ? NO_SOURCE : { kind: "forward", target, routed: undefined };
  }
  const found = rules.routes.find(request);
  if (found === undefined)
    return refuse("route_unmatched", `no rule of the TrafficRoutes of ${serviceKey(rules.service)} fits`);
  const { rule, prefix } = found;
  const fault = rule.fault === undefined ? NO_FAULT : drawFault(rule.fault, rules.caller, dice);
  if (fault.abort !== undefined) return abort(rule, fault.abort, fault.delayMs);
  if (rule.redirect !== undefined) {
    const { statusCode: status = 302 } = rule.redirect;
    return { kind: "redirect", rule, status, location: redirectLocation(rule.redirect, request, prefix) };
  }
  return forward(rules, request, found, fault.delayMs, dice);
}

/** What the observing rules would have done with the request; `undefined` where there are none. */
export function observeRequest(
  rules: EntryRules,
  request: RequestView,
): CompiledRule | "unmatched" | undefined {
  if (rules.observed === undefined) return undefined;
  return rules.observed.find(request)?.rule ?? "unmatched";
}

const NO_SOURCE: Refuse = refuse("no_route", "nothing stands behind the service");

function forward(
  rules: EntryRules,
  request: RequestView,
  { rule, prefix }: Found<CompiledRule>,
  delayMs: number,
  dice: Dice,
): RequestDecision {
  let selector: BackendSelector | undefined;
  let { edits } = rule;
  if (rule.backends.length > 0) {
    const backend = rule.totalWeight === 0 ? undefined : chooseBackend(rules, request, rule, dice);
    if (backend === undefined)
      return refuse("route_backend_missing", `every weight of rule ${rule.name} of ${rule.route} is 0`);
    ({ selector, edits } = backend);
  }
  const sources = selector === undefined ? rules.sources : rules.resolve(selector);
  if ("kind" in sources) return sources;
  const target = dice.pick(sources);
  if (target === undefined) return NO_SOURCE;
  const mirrors = rule.mirrors.length === 0 ? NO_MIRRORS : drawMirrors(rules, rule, dice);
  return { kind: "forward", target, routed: { rule, edits, prefix, delayMs, mirrors, sources } };
}

/** A session comes before the weights, as long as its backend has any (GEP-1619). */
function chooseBackend(
  rules: EntryRules,
  request: RequestView,
  rule: CompiledRule,
  dice: Dice,
): CompiledBackend | undefined {
  const session = rule.backends.length > 1 ? dice.session(request) : undefined;
  if (session === undefined) return backendAt(rule, dice.split(rule));
  if (typeof session === "number") return backendAt(rule, session);
  const kept = backendsOfSession(rules, rule, session);
  if (kept.length === 0 || kept.length === rule.backends.length) return backendAt(rule, dice.split(rule));
  // Outside the sequence of those who are free to choose, whose shares it would bend.
  return backendAt({ backends: kept, totalWeight: sumOfWeights(kept) }, dice.random());
}

/** Backends of the session's version: those that its cluster has, else, as the version is worth more than the endpoint, all. */
function backendsOfSession(
  rules: EntryRules,
  { backends }: CompiledRule,
  { cluster, version }: SessionTarget,
): readonly CompiledBackend[] {
  const ofVersions: CompiledBackend[] = [];
  const atHome: CompiledBackend[] = [];
  for (const backend of backends) {
    if (backend.weight === 0 || backend.versionName !== version) continue;
    const sources = rules.resolve(backend.selector);
    if ("kind" in sources) continue;
    ofVersions.push(backend);
    if (sources.some(({ destination }) => opaqueName(destination) === cluster)) atHome.push(backend);
  }
  return atHome.length > 0 || version === undefined ? atHome : ofVersions;
}

/** A mirror that leads nowhere is left out: it must never harm the request. */
function drawMirrors(rules: EntryRules, rule: CompiledRule, dice: Dice): readonly EntryForward[] {
  const drawn: EntryForward[] = [];
  for (const { selector, share } of rule.mirrors) {
    if (share < 1 && dice.random() >= share) continue;
    const sources = rules.resolve(selector);
    const target = "kind" in sources ? undefined : dice.pick(sources);
    if (target !== undefined) drawn.push(target);
  }
  return drawn;
}

interface DrawnFault {
  readonly delayMs: number;
  readonly abort: CompiledFault["abort"];
}

const NO_FAULT: DrawnFault = { delayMs: 0, abort: undefined };

function drawFault(fault: CompiledFault, caller: SpiffeId, dice: Dice): DrawnFault {
  const { from, delay, abort: aborting } = fault;
  if (from.length > 0 && !from.some((pattern) => matchWorkload(pattern, caller))) return NO_FAULT;
  const delayMs = delay !== undefined && dice.random() < delay.share ? delay.delayMs : 0;
  return { delayMs, abort: aborting !== undefined && dice.random() < aborting.share ? aborting : undefined };
}

function abort(
  rule: CompiledRule,
  { status, grpcCode }: NonNullable<CompiledFault["abort"]>,
  delayMs: number,
): AbortRequest {
  const detail = `rule ${rule.name} of TrafficRoute ${rule.route} aborts this request`;
  return { kind: "abort", rule, problem: problem("fault_injected", detail), status, grpcCode, delayMs };
}

/** Permission is asked for each cluster by itself: a rule chooses among what the caller may reach, and adds nothing to it. */
function resolveBackend(
  tables: RouteTables | undefined,
  caller: SpiffeId,
  selector: BackendSelector,
  entryPort: number,
): readonly EntryForward[] | Refuse {
  const { cluster, version, port = entryPort } = selector;
  const route = tables === undefined ? undefined : importOf(tables, ownSelector(selector));
  if (tables === undefined || route === undefined)
    return refuse("route_backend_missing", `${serviceKey(selector)} is not imported`);
  const wanted = route.sources.filter(
    ({ rule }) =>
      (cluster === undefined || rule.from.cluster === cluster) &&
      (version === undefined || rule.versions?.includes(version) === true),
  );
  if (wanted.length === 0) {
    const from = cluster === undefined ? "" : ` from ${cluster}`;
    const what = version === undefined ? "" : ` with version ${version}`;
    return refuse("route_backend_missing", `${serviceKey(selector)}${what} is not imported${from}`);
  }
  const decisions = wanted.map((source) => decideImport(tables, source, caller, port));
  const permitted = decisions.filter((decision) => decision.kind === "forward");
  if (permitted.length === 0) return decisions.find((decision) => decision.kind === "refuse") ?? NO_SOURCE;
  return version === undefined ? permitted : permitted.map((target) => ofVersion(target, version));
}

function memoized<K extends object, V>(compute: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>();
  return (key) => {
    const found = known.get(key);
    if (found !== undefined) return found;
    const made = compute(key);
    known.set(key, made);
    return made;
  };
}
