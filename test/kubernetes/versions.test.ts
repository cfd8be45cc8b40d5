import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  ENDPOINT_SLICES,
  PODS,
  SERVICE_EXPORTS,
  SERVICES,
  type ResourceType,
} from "../../agents/kubernetes/api/resource-type.ts";
import { type KubeScene, reach, startKubeScene, WEB, wayTo } from "../fakes/kube-scene.ts";
import { call, localAddress, until } from "../fakes/kube-world.ts";
import { pod, service, serviceExport, slice } from "./objects.ts";

const TRAFFIC_ROUTES: ResourceType = {
  group: "isthmus.dev",
  version: "v1alpha1",
  plural: "trafficroutes",
  kind: "TrafficRoute",
  namespaced: true,
};
const HOSTS = [localAddress(21, 2), localAddress(22, 2)] as const;

let scene: KubeScene;

beforeAll(async () => {
  scene = await startKubeScene();
  const { east, servers } = scene;
  let port = 0;
  for (const [index, host] of HOSTS.entries()) {
    const server = createServer((_, response) => response.end(`cart-${index + 1}`)).listen(port, host);
    servers.push(server);
    await once(server, "listening");
    ({ port } = server.address() as AddressInfo);
  }
  await east.api.put(SERVICES, service("cart"));
  await east.api.put(
    ENDPOINT_SLICES[0],
    slice("cart", { ports: [{ name: "http", port }], addresses: HOSTS }),
  );
  await east.api.put(SERVICE_EXPORTS[0], serviceExport("cart"));
  await reach(scene.west, "cart");
}, 120_000);

afterAll(async () => {
  await scene?.close();
});

/** After the endpoint was told: a pod may be heard of later than its EndpointSlice. */
async function label(index: 0 | 1, labels: Record<string, string>): Promise<void> {
  const { metadata, ...rest } = pod(`cart-${index + 1}`, "cart", HOSTS[index]);
  const made = { ...rest, spec: { ...rest.spec, nodeName: "a" }, metadata: { ...metadata, labels } };
  await scene.east.api.put(PODS, made);
}

const split = (...weights: readonly (readonly [string, number])[]) =>
  scene.west.api.put(TRAFFIC_ROUTES, {
    metadata: { namespace: "shop", name: "split" },
    spec: {
      parentRefs: [{ name: "cart" }],
      rules: [{ backendRefs: weights.map(([version, weight]) => ({ name: "cart", version, weight })) }],
    },
  });

async function counts(requests: number): Promise<{ readonly [answer: string]: number }> {
  const to = await wayTo(scene.west, "cart");
  if (to === undefined) throw new Error("no way to cart");
  const seen: { [answer: string]: number } = {};
  for (let sent = 0; sent < requests; sent++) {
    const { status, body } = await call(WEB, to);
    const answer = status === 200 ? (/cart-\d/.exec(body)?.[0] ?? body) : String(status);
    seen[answer] = (seen[answer] ?? 0) + 1;
  }
  return seen;
}

const settles = (what: string, matches: (seen: { readonly [answer: string]: number }) => boolean) =>
  until(what, 15_000, async () => (matches(await counts(8)) ? true : undefined));

describe("versions of a service, by the labels of its pods", () => {
  it("are weighed against each other from another cluster", async () => {
    await label(0, { version: "v1" });
    await label(1, { version: "v2" });
    await split(["v2", 1]);
    await settles("all go to v2", (seen) => seen["cart-2"] === 8);
    await split(["v1", 3], ["v2", 1]);
    await settles("some go to v1", (seen) => (seen["cart-1"] ?? 0) > 0);
    // The sequence begins anew when rules change, and keeps close to the weights from any place on.
    const { "cart-1": first = 0, "cart-2": second = 0 } = await counts(40);
    expect(first + second).toBe(40);
    expect(Math.abs(first - 30)).toBeLessThanOrEqual(3);
  }, 40_000);

  it("are said by our label where a pod has both", async () => {
    await label(0, { version: "v1", "isthmus.dev/version": "v3" });
    await split(["v3", 1]);
    await settles("all go to v3", (seen) => seen["cart-1"] === 8);
  }, 40_000);

  it("are none where no pod says one, and then every endpoint is as good", async () => {
    await scene.west.api.remove(TRAFFIC_ROUTES, "shop", "split");
    await label(0, {});
    await label(1, {});
    await settles("both answer", (seen) => (seen["cart-1"] ?? 0) + (seen["cart-2"] ?? 0) === 8);
    await until("the registry heard of it", 10_000, () => {
      const imports = scene.west.discovery.snapshot.current?.imports ?? [];
      return imports.length > 0 && imports.every(({ versions }) => versions === undefined) ? true : undefined;
    });
  }, 40_000);
});
