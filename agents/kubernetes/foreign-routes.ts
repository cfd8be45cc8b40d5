import { createHash } from "node:crypto";
import { API_VERSION, type AppliedResource } from "../../federation/model/resource.ts";
import type { Problem } from "../../federation/model/problem.ts";
import type { DeclareResponse } from "../../federation/model/wire/api.ts";
import { decodeAppliedResource } from "../../federation/model/wire/resource.ts";
import { createInformer, type Informer, type InformerOptions } from "./api/informer.ts";
import { type KubeObject, objectKey } from "./api/object.ts";
import type { ResourceType } from "./api/resource-type.ts";
import { LastGood } from "./last-good.ts";
import { type Change, covers, statusChange } from "./mcs/plan.ts";
import { routeParents, routeSpec, type RouteVerdict } from "./translate/gateway-api.ts";
import { type RouteGroups, splitSpec } from "./translate/smi.ts";

const gatewayApi = (plural: string, kind: string): ResourceType => ({
  group: "gateway.networking.k8s.io",
  version: "v1",
  plural,
  kind,
  namespaced: true,
});
const smi = (group: string, version: string, plural: string, kind: string): ResourceType => ({
  group: `${group}.smi-spec.io`,
  version,
  plural,
  kind,
  namespaced: true,
});
const SPLITS = smi("split", "v1alpha4", "trafficsplits", "TrafficSplit");
const GROUPS = smi("specs", "v1alpha4", "httproutegroups", "HTTPRouteGroup");
const ROUTES = [gatewayApi("httproutes", "HTTPRoute"), gatewayApi("grpcroutes", "GRPCRoute")] as const;

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
  readonly #informers: readonly Informer<KubeObject>[];

  readonly #lastGood = new LastGood();

  constructor(
    cluster: string,
    common: Pick<InformerOptions<KubeObject>, "client" | "clock" | "random" | "log">,
    onChange: () => void,
  ) {
    this.#cluster = cluster;
    this.#informers = [...ROUTES, SPLITS, GROUPS].map((type) =>
      createInformer<KubeObject>({
        ...common,
        types: [type],
        digest: (object) => object,
        onChange,
        onListed: onChange,
      }),
    );
  }

  start(): void {
    for (const informer of this.#informers) informer.start();
  }

  stop(): void {
    for (const informer of this.#informers) informer.stop();
  }

  get known(): boolean {
    return this.#informers.every(({ known }) => known);
  }

  problems(): readonly Problem[] {
    return this.#informers
      .flatMap(({ problem }) => problem.current ?? [])
      .filter(({ name }) => name !== "kube_resource_missing");
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
      if (type === SPLITS) return [];
      const { namespace = "", name: own } = object.metadata;
      const told = verdictOf(verdict, byKey.get(`${namespace}/${name}`));
      const parents = told === undefined ? [] : routeParents(object, told, now);
      const live = (object.status as { readonly parents?: unknown } | undefined)?.parents;
      if (told === undefined || covers(live, parents)) return [];
      return [statusChange(type, { namespace, name: own }, { parents })];
    });
  }

  #translated(): readonly Translated[] {
    const groups = this.#of(GROUPS);
    return [...ROUTES, SPLITS].flatMap((type) =>
      [...this.#of(type)].flatMap(([, object]) => this.#translate(type, object, groups)),
    );
  }

  #translate(
    type: ResourceType,
    object: KubeObject,
    groups: ReadonlyMap<string, KubeObject>,
  ): readonly Translated[] {
    const { namespace = "" } = object.metadata;
    const spec = type === SPLITS ? splitSpec(object, groupsOf(groups, namespace)) : routeSpec(object);
    if (spec === undefined) return [];
    const name = registryName(type.kind, object.metadata.name);
    const metadata = { cluster: this.#cluster, namespace, name };
    const verdict = decodeAppliedResource({ apiVersion: API_VERSION, kind: "TrafficRoute", metadata, spec });
    return [{ type, object, name, verdict }];
  }

  #of(type: ResourceType): ReadonlyMap<string, KubeObject> {
    const found = this.#informers.find((informer) => informer.type.plural === type.plural);
    return new Map([...(found?.items ?? [])].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}

function groupsOf(groups: ReadonlyMap<string, KubeObject>, namespace: string): RouteGroups {
  const own = [...groups.values()].filter(({ metadata }) => metadata.namespace === namespace);
  return new Map(own.map((group) => [group.metadata.name, group]));
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
