import { createHash } from "node:crypto";
import { API_VERSION, type AppliedResource } from "../../federation/model/resource.ts";
import type { DeclareResponse } from "../../federation/model/wire/api.ts";
import { decodeAppliedResource } from "../../federation/model/wire/resource.ts";
import { type KubeObject, objectKey } from "./api/object.ts";
import {
  GRPC_ROUTES,
  HTTP_ROUTE_GROUPS,
  HTTP_ROUTES,
  type ResourceType,
  TRAFFIC_SPLITS,
} from "./api/resource-type.ts";
import type { ForeignObjects } from "./foreign-objects.ts";
import { LastGood } from "./last-good.ts";
import { type Change, covers, statusChange } from "./mcs/plan.ts";
import { routeParents, routeSpec, type RouteVerdict } from "./translate/gateway-api.ts";
import { splitSpec } from "./translate/smi.ts";

const ROUTES = [HTTP_ROUTES, GRPC_ROUTES] as const;

type Results = DeclareResponse["results"];

interface Translated {
  readonly type: ResourceType;
  readonly object: KubeObject;
  /** Its name in the registry: routes of different kinds may have one name. */
  readonly name: string;
  readonly verdict: ReturnType<typeof decodeAppliedResource>;
}

/** Routes that people wrote in other APIs' words: HTTPRoute and GRPCRoute for meshes (GAMMA), and SMI's TrafficSplit. */
export class ForeignRoutes {
  readonly #cluster: string;
  readonly #objects: ForeignObjects;

  readonly #lastGood = new LastGood();

  constructor(cluster: string, objects: ForeignObjects) {
    this.#cluster = cluster;
    this.#objects = objects;
  }

  declared(): readonly AppliedResource[] {
    return this.#lastGood.of(
      this.#translated().map(({ object, name, verdict }) => ({
        key: `${object.metadata.namespace ?? ""}/${name}`,
        value: verdict.ok ? verdict.value : undefined,
      })),
    );
  }

  /** SMI's kinds have no status; routes are told in `status.parents`, beside what other controllers say. */
  statusChanges(results: Results, now: string): readonly Change[] {
    const byKey = new Map<string, Results[number]>(
      results.flatMap((result) =>
        result.kind === "TrafficRoute" ? [[objectKey(result.metadata), result] as const] : [],
      ),
    );
    return this.#translated().flatMap(({ type, object, name, verdict }) => {
      if (type === TRAFFIC_SPLITS) return [];
      const { namespace = "", name: own } = object.metadata;
      const told = verdictOf(verdict, byKey.get(`${namespace}/${name}`));
      const parents = told === undefined ? [] : routeParents(object, told, now);
      const live = (object.status as { readonly parents?: unknown } | undefined)?.parents;
      if (told === undefined || covers(live, parents)) return [];
      return [statusChange(type, { namespace, name: own }, { parents })];
    });
  }

  #translated(): readonly Translated[] {
    return [...ROUTES, TRAFFIC_SPLITS].flatMap((type) =>
      this.#objects.of(type).flatMap((object) => this.#translate(type, object)),
    );
  }

  #translate(type: ResourceType, object: KubeObject): readonly Translated[] {
    const { namespace = "" } = object.metadata;
    const groups = () => this.#objects.inNamespace(HTTP_ROUTE_GROUPS, namespace);
    const spec = type === TRAFFIC_SPLITS ? splitSpec(object, groups()) : routeSpec(object);
    if (spec === undefined) return [];
    const name = registryName(type.kind, object.metadata.name);
    const metadata = { cluster: this.#cluster, namespace, name };
    const verdict = decodeAppliedResource({ apiVersion: API_VERSION, kind: "TrafficRoute", metadata, spec });
    return [{ type, object, name, verdict }];
  }
}

const MAX_LABEL = 63;

/** `httproute-cart`; names of routes may be longer than a label, and then a part of their hash tells them apart. */
export function registryName(kind: string, name: string): string {
  const full = `${kind.toLowerCase()}-${name}`;
  if (full.length <= MAX_LABEL && !name.includes(".")) return full;
  const hash = createHash("sha256").update(full).digest("hex").slice(0, 10);
  return `${full.replaceAll(".", "-").slice(0, MAX_LABEL - 11)}-${hash}`;
}

const MAX_ISSUES = 5;

/** `undefined`: the registry has not answered yet. */
function verdictOf(
  verdict: Translated["verdict"],
  result: Results[number] | undefined,
): RouteVerdict | undefined {
  if (!verdict.ok) {
    const told = verdict.error.slice(0, MAX_ISSUES).map(({ path, message }) => `${path} ${message}`);
    return { accepted: false, reason: "UnsupportedValue", message: told.join("; ") };
  }
  if (result === undefined) return undefined;
  if (result.action === "refused" || result.action === "shadowed") {
    const message = result.conditions[0]?.message ?? "an operator's TrafficRoute of that name is in force";
    return { accepted: false, reason: "UnsupportedValue", message };
  }
  return { accepted: true, reason: "Accepted", message: "in force" };
}
