import type {
  AuthorizationPath,
  AuthorizationPolicySpec,
  AuthorizationSource,
  AuthorizationTarget,
} from "../../../federation/model/authorization-policy.ts";
import { authorizationPolicySpec } from "../../../federation/model/wire/authorization-policy.ts";
import type { KubeObject } from "../api/object.ts";
import { type Fields, fieldsOf, integer, list, text, texts } from "../digest/fields.ts";

/** A Service that has pods of the destination's account. */
export interface TargetedService {
  readonly name: string;
  /** Its ports, and where pods listen for them. */
  readonly ports: readonly { readonly port: number; readonly podPorts: readonly number[] }[];
  /** It has pods of other accounts too, which are opened with it. */
  readonly isShared: boolean;
}

export interface AccessView {
  /** HTTPRouteGroups and TCPRoutes of the target's namespace, by name. */
  readonly groups: ReadonlyMap<string, KubeObject>;
  readonly tcpRoutes: ReadonlyMap<string, KubeObject>;
  readonly services: readonly TargetedService[];
}

/** Why some of a TrafficTarget is not in force. The rest is, and what is left out lets nobody in. */
export type AccessReason =
  | "DestinationUnsupported"
  | "SourceUnsupported"
  | "RouteMissing"
  | "MatchUnsupported"
  | "NoService"
  | "MixedAccounts";

export interface AccessNote {
  readonly reason: AccessReason;
  readonly message: string;
}

export interface TranslatedTarget {
  readonly policies: readonly { readonly service: string; readonly spec: AuthorizationPolicySpec }[];
  readonly notes: readonly AccessNote[];
}

// What one AuthorizationPolicy may have; a target that says more becomes several, of which one is enough.
const MAX_SOURCES = 256;
const MAX_TARGETS = 16;
const MAX_PATHS = 64;
const MAX_PORTS = 64;

/**
 * A TrafficTarget (access.smi-spec.io/v1alpha3) as `allow` policies about the Services whose pods run under its destination's
 * account: its sources by their accounts, of whichever cluster the service is exported to, its routes as ports, methods and
 * paths. What cannot be said lets nobody in and is noted. Pure.
 */
export function translateTarget(target: KubeObject, view: AccessView): TranslatedTarget {
  const notes: AccessNote[] = [];
  const note = (reason: AccessReason, message: string): void => void notes.push({ reason, message });
  const spec = fieldsOf(target.spec);
  if (!isOwnAccount(fieldsOf(spec["destination"]), target)) {
    note(
      "DestinationUnsupported",
      "the destination has to be a ServiceAccount of the target's own namespace",
    );
    return { policies: [], notes };
  }
  if (view.services.length === 0)
    note("NoService", "no Service with a selector has pods of the destination's account");
  const from = sourcesOf(spec, note);
  const requests = requestsOf(spec, view, note);
  const policies = view.services.flatMap((service) => {
    if (service.isShared)
      note("MixedAccounts", `Service ${service.name} also has pods of other accounts, opened with it`);
    return policiesFor(service, from, requests).map((made) => ({ service: service.name, spec: made }));
  });
  return { policies, notes };
}

type Note = (reason: AccessReason, message: string) => void;

/** The account that a TrafficTarget is about; `undefined` where it names none that can be. */
export function destinationAccount(target: KubeObject): string | undefined {
  const destination = fieldsOf(fieldsOf(target.spec)["destination"]);
  return isOwnAccount(destination, target) ? text(destination["name"]) : undefined;
}

function isOwnAccount({ kind, name, namespace }: Fields, target: KubeObject): boolean {
  const isHere = namespace === undefined || namespace === target.metadata.namespace;
  return kind === "ServiceAccount" && text(name) !== undefined && isHere;
}

function sourcesOf(spec: Fields, note: Note): readonly AuthorizationSource[] {
  return list(spec["sources"])
    .map(fieldsOf)
    .flatMap((source) => {
      const { kind, name, namespace } = source;
      const made = { workload: `ns/${String(namespace)}/sa/${String(name)}` };
      if (kind === "ServiceAccount" && isValid({ action: "allow", from: [made] })) return [made];
      note("SourceUnsupported", `${String(kind)} ${String(namespace)}/${String(name)} is no ServiceAccount`);
      return [];
    });
}

/** Requests to ports of pods, where a route says which. */
interface PodRequests extends Omit<AuthorizationTarget, "ports"> {
  readonly podPorts?: readonly number[];
}

/** Without rules nothing is allowed. */
function requestsOf(spec: Fields, view: AccessView, note: Note): readonly PodRequests[] {
  const rules = list(spec["rules"]).map(fieldsOf);
  return rules.flatMap(({ kind, name, matches }) => {
    const isTcp = kind === "TCPRoute";
    const route = (isTcp ? view.tcpRoutes : view.groups).get(text(name) ?? "");
    if ((!isTcp && kind !== "HTTPRouteGroup") || route === undefined) {
      note("RouteMissing", `there is no ${String(kind)} ${String(name)} in this namespace`);
      return [];
    }
    return isTcp ? [tcpRequests(route)] : httpRequests(route, texts(matches), note);
  });
}

/** Without ports, every one. */
function tcpRequests(route: KubeObject): PodRequests {
  const { ports } = fieldsOf(fieldsOf(route.spec)["matches"]);
  return ports === undefined ? {} : { podPorts: list(ports).flatMap((port) => integer(port) ?? []) };
}

/** Without names, every match of the group. */
function httpRequests(group: KubeObject, names: readonly string[], note: Note): readonly PodRequests[] {
  const given = list(fieldsOf(group.spec)["matches"] ?? group["matches"]).map(fieldsOf);
  for (const name of names)
    if (!given.some((match) => match["name"] === name))
      note("RouteMissing", `HTTPRouteGroup ${group.metadata.name} has no match ${name}`);
  const wanted = names.length === 0 ? given : given.filter(({ name }) => names.includes(text(name) ?? ""));
  return wanted.flatMap((match) => {
    const made = matchRequests(match);
    if (typeof made !== "string") return [made];
    const { name } = match;
    note("MatchUnsupported", `HTTPRouteGroup ${group.metadata.name}, match ${String(name)}: ${made}`);
    return [];
  });
}

/** Or why it cannot be said. */
function matchRequests({ pathRegex, methods, headers }: Fields): PodRequests | string {
  const isEmpty = Array.isArray(headers) ? headers.length === 0 : Object.keys(fieldsOf(headers)).length === 0;
  if (!isEmpty) return "an AuthorizationPolicy knows no headers";
  const path = text(pathRegex);
  const named = texts(methods).map((method) => method.toUpperCase());
  const paths: readonly AuthorizationPath[] | undefined =
    path === undefined || path === ".*" ? undefined : [{ type: "RegularExpression", value: path }];
  const made = {
    ...(paths === undefined ? {} : { paths }),
    ...(named.length === 0 || named.includes("*") ? {} : { methods: named }),
  };
  return Object.keys(made).length === 0 || isValid({ action: "allow", to: [made] })
    ? made
    : `${path ?? ""} ${named.join(",")} is more than an AuthorizationPolicy takes`;
}

function isValid(spec: unknown): boolean {
  return authorizationPolicySpec.safeParse(spec).success;
}

function policiesFor(
  { name, ports }: TargetedService,
  from: readonly AuthorizationSource[],
  requests: readonly PodRequests[],
): readonly AuthorizationPolicySpec[] {
  const to = requests.flatMap(({ podPorts, ...rest }) => {
    const made = podPorts === undefined ? rest : { ports: servicePorts(ports, podPorts), ...rest };
    return "ports" in made && made.ports.length === 0 ? [] : [made];
  });
  const targetRefs = [{ kind: "Service" as const, name }];
  // Nobody: that there is a target keeps out whom none allows.
  if (to.length === 0 || from.length === 0) return [{ targetRefs, action: "allow", from: [] }];
  // One that says nothing is about everything, and makes the rest superfluous.
  const isEverything = to.some((each) => Object.keys(each).length === 0);
  const parts = isEverything ? [undefined] : chunks(joined(to.flatMap(fewPorts)), MAX_TARGETS);
  return parts.flatMap((part) =>
    chunks(from, MAX_SOURCES).map((sources) => ({
      targetRefs,
      action: "allow" as const,
      from: sources,
      ...(part === undefined ? {} : { to: part }),
    })),
  );
}

function servicePorts(ports: TargetedService["ports"], wanted: readonly number[]): readonly number[] {
  return ports
    .filter(({ podPorts }) => podPorts.some((port) => wanted.includes(port)))
    .map(({ port }) => port);
}

function fewPorts(target: AuthorizationTarget): readonly AuthorizationTarget[] {
  const { ports } = target;
  return ports === undefined
    ? [target]
    : chunks(ports, MAX_PORTS).map((part) => ({ ...target, ports: part }));
}

/** Targets that differ in their paths only are one. */
function joined(targets: readonly AuthorizationTarget[]): readonly AuthorizationTarget[] {
  const byRest = new Map<string, AuthorizationTarget[]>();
  for (const target of targets) {
    const { paths, ...rest } = target;
    const key = JSON.stringify([paths === undefined, rest]);
    byRest.set(key, [...(byRest.get(key) ?? []), target]);
  }
  return [...byRest.values()].flatMap(([first, ...others]) => {
    if (first?.paths === undefined) return first === undefined ? [] : [first];
    const { paths: _, ...rest } = first;
    const all = [first, ...others].flatMap(({ paths = [] }) => paths);
    return chunks(all, MAX_PATHS).map((paths) => ({ ...rest, paths }));
  });
}

function chunks<T>(items: readonly T[], size: number): readonly (readonly T[])[] {
  const parts: T[][] = [];
  for (let at = 0; at < items.length; at += size) parts.push(items.slice(at, at + size));
  return parts;
}
