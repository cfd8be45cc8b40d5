import type { KubeObject } from "../api/object.ts";
import { type Fields, fieldsOf, integer, list, text, texts } from "../digest/fields.ts";

/** HTTPRouteGroups of the split's namespace, by name. */
export type RouteGroups = ReadonlyMap<string, KubeObject>;

/**
 * A TrafficSplit (split.smi-spec.io/v1alpha4) as a TrafficRoute's spec: weights among backends for requests that one of the
 * groups' matches fits; the rest goes to the root service.
 */
export function splitSpec(split: KubeObject, groups: RouteGroups): object {
  const spec = fieldsOf(split.spec);
  const root = shortName(text(spec["service"]) ?? "");
  const backendRefs = list(spec["backends"])
    .map(fieldsOf)
    .map((backend) => ({
      kind: "Service",
      name: shortName(text(backend["service"]) ?? ""),
      weight: integer(backend["weight"]) ?? 0,
    }));
  const wanted = list(spec["matches"])
    .map(fieldsOf)
    .flatMap(({ name }) => text(name) ?? []);
  const matches = wanted.flatMap((name) => groupMatches(groups.get(name)));
  const parentRefs = [{ group: "", kind: "Service", name: root }];
  if (wanted.length === 0) return { parentRefs, rules: [{ backendRefs }] };
  // A group that is not there matches nothing, and then everything goes to the root.
  const split_ = matches.length === 0 ? [] : [{ matches, backendRefs }];
  return { parentRefs, rules: [...split_, {}] };
}

/** `spec.matches`; some of SMI's own examples write it without `spec`. */
function groupMatches(group: KubeObject | undefined): readonly object[] {
  if (group === undefined) return [];
  const given = fieldsOf(group.spec)["matches"] ?? group["matches"];
  return list(given).map(fieldsOf).flatMap(matchesOf);
}

/** Several methods are several matches; several headers are one. */
function matchesOf({ pathRegex, methods, headers }: Fields): readonly object[] {
  const path = text(pathRegex);
  const rest = {
    // Anchored at its start only, where ours is at both ends.
    ...(path === undefined ? {} : { path: { type: "RegularExpression", value: `(?:${path}).*` } }),
    ...headerMatches(headers),
  };
  const named = texts(methods).filter((method) => method !== "*");
  return named.length === 0 ? [rest] : named.map((method) => ({ ...rest, method: method.toUpperCase() }));
}

/** A map in some versions, a list of maps in others. */
function headerMatches(given: unknown): { readonly headers?: readonly object[] } {
  const maps = Array.isArray(given) ? given.map(fieldsOf) : [fieldsOf(given)];
  const headers = maps.flatMap((map) =>
    Object.entries(map).flatMap(([name, value]) =>
      typeof value === "string" ? [{ type: "RegularExpression", name, value }] : [],
    ),
  );
  return headers.length === 0 ? {} : { headers };
}

/** SMI allows `cart`, `cart.shop` and `cart.shop.svc.cluster.local`: the namespace is the split's own. */
function shortName(service: string): string {
  return service.split(".")[0] ?? service;
}
