import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  EVENTS,
  HTTP_ROUTE_GROUPS,
  PODS,
  TCP_ROUTES,
  TRAFFIC_TARGETS,
} from "../../agents/kubernetes/api/resource-type.ts";
import { type KubeScene, reach, startKubeScene, WEB, wayTo } from "../fakes/kube-scene.ts";
import { call, localAddress, until } from "../fakes/kube-world.ts";
import { pod } from "./objects.ts";

const BATCH = localAddress(32);

let scene: KubeScene;

beforeAll(async () => {
  scene = await startKubeScene();
  const { east, west } = scene;
  const server = pod("cart-1", "cart", localAddress(21, 2));
  const { metadata, spec, ...rest } = server;
  const running = {
    metadata: { ...metadata, labels: { app: "cart" } },
    spec: { ...spec, nodeName: "a" },
    ...rest,
  };
  await east.api.put(PODS, running);
  await west.api.put(PODS, pod("batch-1", "batch", BATCH));
  await scene.offer(east, "cart");
  await reach(west, "cart");
}, 120_000);

afterAll(async () => {
  await scene?.close();
});

const target = (rules: readonly object[], account = "web") => ({
  metadata: { namespace: "shop", name: "callers" },
  spec: {
    destination: { kind: "ServiceAccount", name: "cart", namespace: "shop" },
    sources: [{ kind: "ServiceAccount", name: account, namespace: "shop" }],
    rules,
  },
});

const group = (methods: readonly string[]) => ({
  metadata: { namespace: "shop", name: "api" },
  spec: { matches: [{ name: "read", pathRegex: "/", methods }] },
});

/** The answers that the two callers of west get, once they are as expected. */
async function answers(web: number, batch: number): Promise<void> {
  await until(`web gets ${web}, batch ${batch}`, 15_000, async () => {
    const to = await wayTo(scene.west, "cart");
    if (to === undefined) return undefined;
    const [one, other] = await Promise.all([call(WEB, to), call(BATCH, to)]);
    return one.status === web && other.status === batch ? true : undefined;
  });
}

async function told(): Promise<string | undefined> {
  const events = await scene.east.api.list(EVENTS, "shop");
  const [own] = events.filter(
    ({ involvedObject }) => (involvedObject as { name: string }).name === "callers",
  );
  return own === undefined ? undefined : `${String(own["type"])} ${String(own["reason"])}`;
}

describe("an SMI TrafficTarget", () => {
  it("lets in the accounts that it names, of whichever cluster, and nobody else", {
    timeout: 60_000,
  }, async () => {
    const { api } = scene.east;
    await answers(200, 200);
    await api.put(HTTP_ROUTE_GROUPS, group(["GET"]));
    await api.put(TRAFFIC_TARGETS, target([{ kind: "HTTPRouteGroup", name: "api", matches: ["read"] }]));
    await answers(200, 403);
    expect(await until("it is told", 10_000, told)).toBe("Normal Accepted");
  });

  it("follows its HTTPRouteGroup, and a TCPRoute by the ports of the pods", { timeout: 60_000 }, async () => {
    const { api } = scene.east;
    await api.put(HTTP_ROUTE_GROUPS, group(["POST"]));
    await answers(403, 403);
    await api.put(TCP_ROUTES, { metadata: { namespace: "shop", name: "all" }, spec: {} });
    await api.put(TRAFFIC_TARGETS, target([{ kind: "TCPRoute", name: "all" }], "batch"));
    await answers(403, 200);
    await api.put(TCP_ROUTES, {
      metadata: { namespace: "shop", name: "all" },
      spec: { matches: { ports: [1] } },
    });
    await answers(403, 403);
  });

  it("that names a route which is not there lets nobody in, and says why", { timeout: 60_000 }, async () => {
    const { api } = scene.east;
    await api.put(TRAFFIC_TARGETS, target([{ kind: "HTTPRouteGroup", name: "gone" }]));
    await answers(403, 403);
    await until("it is told", 10_000, async () =>
      (await told()) === "Warning RouteMissing" ? true : undefined,
    );
    await api.remove(TRAFFIC_TARGETS, "shop", "callers");
    await answers(200, 200);
  });
});
