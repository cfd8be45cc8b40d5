import type { Problem } from "../../federation/model/problem.ts";
import { createInformer, type Informer, type InformerOptions } from "./api/informer.ts";
import type { KubeObject } from "./api/object.ts";
import {
  GRPC_ROUTES,
  HTTP_ROUTE_GROUPS,
  HTTP_ROUTES,
  type ResourceType,
  TCP_ROUTES,
  TRAFFIC_SPLITS,
  TRAFFIC_TARGETS,
} from "./api/resource-type.ts";

const FOLLOWED = [HTTP_ROUTES, GRPC_ROUTES, TRAFFIC_SPLITS, TRAFFIC_TARGETS, HTTP_ROUTE_GROUPS, TCP_ROUTES];

/** Objects of other APIs that we read: the Gateway API's for meshes, and SMI's. People write few of them, so they are kept whole. */
export class ForeignObjects {
  readonly #informers: readonly Informer<KubeObject>[];

  constructor(
    common: Pick<InformerOptions<KubeObject>, "client" | "clock" | "random" | "log">,
    onChange: () => void,
  ) {
    const digest = (object: KubeObject): KubeObject => object;
    this.#informers = FOLLOWED.map((type) =>
      createInformer<KubeObject>({ ...common, types: [type], digest, onChange, onListed: onChange }),
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

  /** That nobody installed one of these kinds is no problem of this cluster's. */
  problems(): readonly Problem[] {
    return this.#informers
      .flatMap(({ problem }) => problem.current ?? [])
      .filter(({ name }) => name !== "kube_resource_missing");
  }

  /** In a fixed order. */
  of(type: ResourceType): readonly KubeObject[] {
    const found = this.#informers.find((informer) => informer.type.plural === type.plural);
    return [...(found?.items ?? [])].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
  }

  /** Of one namespace, by name. */
  inNamespace(type: ResourceType, namespace: string): ReadonlyMap<string, KubeObject> {
    const own = this.of(type).filter(({ metadata }) => metadata.namespace === namespace);
    return new Map(own.map((object) => [object.metadata.name, object]));
  }
}
