import type { KubeObject } from "../../agents/kubernetes/api/object.ts";
import {
  ENDPOINT_SLICES,
  type ResourceType,
  SERVICE_EXPORTS,
  SERVICE_IMPORTS,
  SERVICES,
} from "../../agents/kubernetes/api/resource-type.ts";
import type { KubeApi } from "../fakes/kube-world.ts";

/** The newest version of each, which the API servers of these tests have. */
export const [SLICES] = ENDPOINT_SLICES;
export const [EXPORTS] = SERVICE_EXPORTS;
export const [IMPORTS] = SERVICE_IMPORTS;

/** Kinds of which we make objects. */
export const OURS = [IMPORTS, SERVICES, SLICES] as const;

export function isOurs({ metadata }: KubeObject): boolean {
  return metadata.labels?.["isthmus.dev/managed-by"] === "isthmus";
}

/** Takes objects of a namespace away. */
export async function clear(
  api: KubeApi,
  space: string,
  types: readonly ResourceType[],
  only: (object: KubeObject) => boolean = () => true,
): Promise<void> {
  for (const type of types)
    for (const object of await api.list(type, space))
      if (only(object)) await api.remove(type, space, object.metadata.name);
}

/** What a real cluster's garbage collector does, which is no part of an API server: what an owner left behind goes. */
export async function collectGarbage(api: KubeApi, space: string): Promise<void> {
  const owners = new Set((await api.list(IMPORTS, space)).map(({ metadata }) => metadata.uid));
  await clear(api, space, [SERVICES, SLICES], ({ metadata }) =>
    (metadata.ownerReferences ?? []).some(({ uid, kind }) => kind === "ServiceImport" && !owners.has(uid)),
  );
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
}

/** What we made in a namespace, and what is told there, without what differs from run to run. */
export async function made(api: KubeApi, space: string): Promise<readonly { readonly name: string }[]> {
  const found: { readonly name: string }[] = [];
  for (const type of [...OURS, EXPORTS]) {
    for (const object of await api.list(type, space)) {
      const { metadata, spec, status, ports, endpoints } = object;
      const { conditions = [] } = (status ?? {}) as { readonly conditions?: readonly Condition[] };
      const told = conditions.map((each) => `${each.type} ${each.status} ${each.reason}`).sort();
      const name = `${type.plural}/${metadata.name}`;
      if (type === EXPORTS) found.push({ name, ...{ told } });
      const isAlias = metadata.annotations?.["isthmus.dev/from"] !== undefined;
      if (type === EXPORTS || !(isOurs(object) || isAlias)) continue;
      // The addresses are the API server's choice.
      const {
        clusterIP: _one,
        clusterIPs: _all,
        ips: _ips,
        ...rest
      } = (spec ?? {}) as Record<string, unknown>;
      const owners = metadata.ownerReferences?.map(({ kind, name: of }) => `${kind}/${of}`);
      found.push({ name, ...{ told, labels: metadata.labels, owners, spec: rest, ports, endpoints } });
    }
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}
