import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import type { KubeClient } from "../../agents/kubernetes/api/client.ts";
import { NAMESPACES, type ResourceType } from "../../agents/kubernetes/api/resource-type.ts";
import { Controller } from "../../agents/kubernetes/controller.ts";
import { createWatch } from "../../gateway/dataplane/lifecycle/watch.ts";
import { fakeRegistry, HASTY, snapshotOf } from "../fakes/kube-controller.ts";
import { clientAs, type KubeApi, startKubeApi, until } from "../fakes/kube-world.ts";
import { createMemoryLog } from "../fakes/memory-log.ts";
import { namespace } from "./objects.ts";

interface Schema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
}
interface Definition {
  readonly spec: {
    readonly group: string;
    readonly scope: string;
    readonly names: { readonly plural: string; readonly kind: string };
    readonly versions: readonly {
      readonly name: string;
      readonly schema: { readonly openAPIV3Schema: Schema };
    }[];
  };
}

const CRDS = new URL("../../infra/kubernetes/crds/isthmus.yaml", import.meta.url);
const definitions = parseAllDocuments(readFileSync(CRDS, "utf8")).map(
  (document) => document.toJS() as Definition,
);

/** For each field that the schema knows, however deep, the value of `spec` that has only this one, and wrongly. */
function* brokenFields(
  schema: Schema,
  path: string,
  wrap: (value: unknown) => unknown,
): Generator<[string, unknown]> {
  if (schema.type !== undefined && path !== "") yield [path, wrap(schema.type === "string" ? 7 : "wrong")];
  for (const [name, inner] of Object.entries(schema.properties ?? {}))
    yield* brokenFields(inner, `${path}.${name}`, (value) => wrap({ [name]: value }));
  if (schema.items !== undefined) yield* brokenFields(schema.items, `${path}[]`, (value) => wrap([value]));
}

let api: KubeApi;
let client: KubeClient;
let controller: Controller;

beforeAll(async () => {
  api = await startKubeApi();
  client = await clientAs(api, "controller");
  await api.put(NAMESPACES, namespace("shop"));
  controller = new Controller({
    client,
    cluster: "east",
    snapshot: createWatch<ReturnType<typeof snapshotOf> | undefined>(snapshotOf(1, [])),
    registry: fakeRegistry(),
    leading: createWatch(true),
    clock: HASTY,
    random: () => 0.5,
    log: createMemoryLog(),
  });
  controller.start();
}, 120_000);

afterAll(async () => {
  controller?.stop();
  client?.close();
  await api?.close();
});

function typeOf({ spec: { group, scope, names, versions } }: Definition): ResourceType {
  const { plural, kind } = names;
  return { group, version: versions[0]?.name ?? "", plural, kind, namespaced: scope === "Namespaced" };
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
}

async function accepted(type: ResourceType): Promise<ReadonlyMap<string, Condition>> {
  const found = new Map<string, Condition>();
  for (const { metadata, status } of await api.list(type, type.namespaced ? "shop" : undefined)) {
    const { conditions = [] } = (status ?? {}) as { readonly conditions?: readonly Condition[] };
    const told = conditions.find((condition) => condition.type === "Accepted");
    if (told !== undefined) found.set(metadata.name, told);
  }
  return found;
}

describe("objects of our own kinds that break their schema", () => {
  it.each(definitions.map((definition) => [definition.spec.names.kind, definition] as const))(
    "%s: each field of it in turn is refused by the API server or told in a condition, and a good object is taken",
    async (_, definition) => {
      const type = typeOf(definition);
      const [version] = definition.spec.versions;
      const { properties } = version?.schema.openAPIV3Schema ?? {};
      const fields = [...brokenFields(properties?.["spec"] ?? {}, "", (value) => value)];
      expect(fields.length).toBeGreaterThan(5);
      const at = (name: string) => (type.namespaced ? { namespace: "shop", name } : { name });
      const taken: string[] = [];
      for (const [index, [, spec]] of fields.entries()) {
        const name = `broken-${index}`;
        const put = await api.put(type, { metadata: at(name), spec }).catch((error: unknown) => error);
        // A real API server refuses most of them itself; the double takes everything.
        if (!(put instanceof Error)) taken.push(name);
        else expect(put.message).toMatch(/invalid|must be|Required|failed to/i);
      }
      if (api.double !== undefined) expect(taken).toHaveLength(fields.length);
      const told = await until("each is told", 15_000, async () => {
        const all = await accepted(type);
        return taken.every((name) => all.has(name)) ? all : undefined;
      });
      const wrong = taken.filter(
        (name) => told.get(name)?.status !== "False" || told.get(name)?.reason !== "Invalid",
      );
      expect(wrong.map((name) => fields[Number(name.slice(7))]?.[0])).toEqual([]);
      const routes = definitions.find(({ spec }) => spec.names.kind === "TrafficRoute");
      if (routes === undefined) throw new Error("no TrafficRoute");
      const parentRefs = [{ group: "", kind: "Service", name: "cart", port: 80 }];
      const spec = { parentRefs, rules: [{ backendRefs: [{ name: "cart", port: 80 }] }] };
      const name = `good-${type.plural}`;
      await api.put(typeOf(routes), { metadata: { namespace: "shop", name }, spec });
      await until("a good one is taken", 15_000, async () =>
        (await accepted(typeOf(routes))).get(name)?.status === "True" ? true : undefined,
      );
      for (const each of taken) await api.remove(type, type.namespaced ? "shop" : undefined, each);
    },
    60_000,
  );
});
