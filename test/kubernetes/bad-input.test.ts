import { createServer, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  ENDPOINT_SLICES,
  HTTP_ROUTES,
  NAMESPACES,
  type ResourceType,
  SERVICE_EXPORTS,
  SERVICES,
  TRAFFIC_SPLITS,
} from "../../agents/kubernetes/api/resource-type.ts";
import { type KubeScene, reach, startKubeScene } from "../fakes/kube-scene.ts";
import { type KubeCluster, localAddress } from "../fakes/kube-world.ts";
import { namespace, service, serviceExport, slice } from "./objects.ts";

const [SLICES] = ENDPOINT_SLICES;
const [EXPORTS] = SERVICE_EXPORTS;
const ROUTES: ResourceType = {
  group: "isthmus.dev",
  version: "v1alpha1",
  plural: "trafficroutes",
  kind: "TrafficRoute",
  namespaced: true,
};

const HOST = localAddress(21);

let scene: KubeScene;
let east: KubeCluster;
let west: KubeCluster;
let server: Server;
let port = 0;

beforeAll(async () => {
  scene = await startKubeScene();
  ({ east, west } = scene);
  server = createServer((_, response) => response.end("served")).listen(0, HOST);
  await once(server, "listening");
  port = (server.address() as AddressInfo).port;
}, 120_000);

afterAll(async () => {
  server?.close();
  await scene?.close();
});

async function offer(name: string, space = "shop"): Promise<void> {
  await east.api.put(SERVICES, service(name, { namespace: space }));
  await east.api.put(
    SLICES,
    slice(name, { namespace: space, ports: [{ name: "http", port }], addresses: [HOST] }),
  );
  await east.api.put(EXPORTS, serviceExport(name, { namespace: space }));
}

async function canBeCalled(name: string, space = "shop", port = "http"): Promise<void> {
  expect(await reach(west, name, { namespace: space, port })).toContain("served");
}

interface Told {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

async function told(name: string, type: string): Promise<Told | undefined> {
  const found = await east.api.get(EXPORTS, "shop", name);
  const { conditions = [] } = (found?.status ?? {}) as { readonly conditions?: readonly Told[] };
  return conditions.find((condition) => condition.type === type);
}

type Json = { readonly [key: string]: unknown };

/** The object again and again, each time with another field of another kind than it should be. */
function* broken(object: Json, path: readonly string[] = []): Generator<Json> {
  const at = path.reduce<unknown>((value, key) => (value as Json)[key], object);
  const wrong = [null, -1, "", {}, "x".repeat(300)];
  if (path.length > 0 && path[0] !== "metadata")
    for (const value of wrong) yield replaced(object, path, value);
  if (typeof at !== "object" || at === null) return;
  for (const key of Object.keys(at)) if (key !== "metadata") yield* broken(object, [...path, key]);
}

function replaced(object: Json, [key = "", ...rest]: readonly string[], value: unknown): Json {
  const copy = (Array.isArray(object) ? [...(object as unknown[])] : { ...object }) as Record<
    string,
    unknown
  >;
  copy[key] = rest.length === 0 ? value : replaced(object[key] as Json, rest, value);
  return copy;
}

const at = (name: string) => ({ namespace: "shop", name });
const rules = [
  { matches: [{ path: { type: "PathPrefix", value: "/" } }], backendRefs: [{ name: "x", port: 80 }] },
];
const parentRefs = [{ group: "multicluster.x-k8s.io", kind: "ServiceImport", name: "good" }];

describe("bad input from an API server", () => {
  it.each<readonly [string, ResourceType, Json]>([
    ["Service", SERVICES, service("broken")],
    ["EndpointSlice", SLICES, slice("broken", { ports: [{ name: "http", port: 1 }], addresses: [HOST] })],
    ["ServiceExport", EXPORTS, serviceExport("broken", { spec: { exportedLabels: { a: "b" } } })],
    ["HTTPRoute", HTTP_ROUTES, { metadata: at("broken"), spec: { parentRefs, rules, hostnames: ["a"] } }],
    ["TrafficRoute", ROUTES, { metadata: at("broken"), spec: { parentRefs, rules } }],
    [
      "TrafficSplit",
      TRAFFIC_SPLITS,
      {
        metadata: at("broken"),
        spec: { service: "good", matches: [{ name: "g" }], backends: [{ service: "x", weight: 1 }] },
      },
    ],
  ])(
    "a %s that breaks its schema in any field keeps nothing else away",
    async (_, type, object) => {
      let tried = 0;
      for (const bad of broken(object)) {
        tried += 1;
        // A real API server refuses most of them itself; the double takes everything.
        await east.api.put(type, bad).catch(() => undefined);
      }
      expect(tried).toBeGreaterThan(6);
      const name = `good-${type.plural}`;
      await offer(name);
      await canBeCalled(name);
      await east.api.remove(type, "shop", String((object["metadata"] as Json)["name"]));
    },
    60_000,
  );

  it("takes names at the limit of their length", async () => {
    const [name, space] = ["s".repeat(63), "n".repeat(63)];
    for (const { api } of scene.clusters.values()) await api.put(NAMESPACES, namespace(space));
    await offer(name, space);
    await canBeCalled(name, space);
  }, 30_000);

  it("serves every one of a thousand ports; one more is refused, which export-import.test.ts shows", async () => {
    const ports = Array.from({ length: 1_000 }, (_, index) => ({ name: `p${index}`, port: 1_000 + index }));
    await east.api.put(SERVICES, service("wide", { ports }));
    const targets = ports.map(({ name }) => ({ name, port }));
    // Several slices, as the EndpointSlice controller may write them.
    for (let first = 0; first < targets.length; first += 100)
      await east.api.put(
        SLICES,
        slice("wide", {
          suffix: String(first),
          ports: targets.slice(first, first + 100),
          addresses: [HOST],
        }),
      );
    await east.api.put(EXPORTS, serviceExport("wide"));
    for (const name of ["p0", "p500", "p999"]) await canBeCalled("wide", "shop", name);
    expect(await told("wide", "Ready")).toMatchObject({ status: "True" });
  }, 40_000);

  it("goes to the endpoints that answer to the port's name when EndpointSlices disagree", async () => {
    await offer("torn");
    const other = { suffix: "2", ports: [{ name: "other", port: 9 }], addresses: [localAddress(22)] };
    await east.api.put(SLICES, slice("torn", other));
    // The same endpoint twice, once as not ready.
    const again = { suffix: "3", ports: [{ name: "http", port }], addresses: [HOST], ready: false };
    await east.api.put(SLICES, slice("torn", again));
    for (let round = 0; round < 5; round++) await canBeCalled("torn");
  }, 30_000);

  it("stops writing into a namespace that is being deleted, and goes on elsewhere", async () => {
    for (const { api } of scene.clusters.values()) await api.put(NAMESPACES, namespace("ending"));
    await offer("last", "ending");
    await canBeCalled("last", "ending");
    await west.api.remove(NAMESPACES, undefined, "ending");
    await offer("beside-ending");
    await canBeCalled("beside-ending");
    expect(west.controller.known).toBe(true);
  }, 40_000);
});
