import type { KubeObject } from "../api/object.ts";
import { type Fields, fieldsOf, list } from "../digest/fields.ts";

/** Groups of the parents that make a route a mesh's (GAMMA, GEP-1294 and GEP-1748). */
const MESH_PARENTS: ReadonlyMap<unknown, unknown> = new Map([
  ["Service", ""],
  ["ServiceImport", "multicluster.x-k8s.io"],
]);

/** Parents of a route that are services; those that are Gateways are somebody else's business. */
export function meshParents(route: KubeObject): readonly Fields[] {
  return list(fieldsOf(route.spec)["parentRefs"])
    .map(fieldsOf)
    .filter(({ kind, group }) => MESH_PARENTS.has(kind) && MESH_PARENTS.get(kind) === (group ?? ""));
}

/**
 * An HTTPRoute or GRPCRoute as a TrafficRoute's spec, or `undefined` when it is not for a mesh. TrafficRoute speaks the same
 * language; what it does not know stays in, so that the schema names it instead of it being dropped in silence.
 */
export function routeSpec(route: KubeObject): object | undefined {
  const parentRefs = meshParents(route);
  if (parentRefs.length === 0) return undefined;
  const { hostnames, rules } = fieldsOf(route.spec);
  return {
    parentRefs,
    ...(hostnames === undefined ? {} : { hostnames }),
    // A route without rules sends everything to its parent.
    rules: rules ?? [{}],
  };
}

export const MESH_CONTROLLER = "isthmus.dev/mesh";

export interface RouteVerdict {
  readonly accepted: boolean;
  readonly reason: string;
  readonly message: string;
}

/** `status.parents` with our entries; those of other controllers stay as they are. */
export function routeParents(route: KubeObject, verdict: RouteVerdict, now: string): readonly object[] {
  const before = list(fieldsOf(route.status)["parents"]).map(fieldsOf);
  const others = before.filter(({ controllerName }) => controllerName !== MESH_CONTROLLER);
  const { generation = 1 } = route.metadata;
  const ours = meshParents(route).map((parentRef) => {
    const known = before.find(
      (entry) =>
        entry["controllerName"] === MESH_CONTROLLER &&
        JSON.stringify(entry["parentRef"]) === JSON.stringify(parentRef),
    );
    const condition = (type: string, status: boolean, reason: string, message: string): object => {
      const word = status ? "True" : "False";
      const old = list(known?.["conditions"])
        .map(fieldsOf)
        .find((each) => each["type"] === type);
      const lastTransitionTime = old?.["status"] === word ? old["lastTransitionTime"] : now;
      return { type, status: word, reason, message, observedGeneration: generation, lastTransitionTime };
    };
    const { accepted, reason, message } = verdict;
    return {
      parentRef,
      controllerName: MESH_CONTROLLER,
      conditions: [
        condition("Accepted", accepted, reason, message),
        condition("ResolvedRefs", true, "ResolvedRefs", "references are resolved where requests are routed"),
      ],
    };
  });
  return [...others, ...ours];
}
