import { afterEach, describe, expect, it } from "vitest";
import { SILENT_LOGGER } from "../../../federation/model/log.ts";
import { systemClock } from "../../../gateway/process/clock.ts";
import { type FakeKubeApi, startFakeKubeApi } from "../../../test/fakes/kube-api/server.ts";
import { until } from "../../../test/fakes/until.ts";
import { createKubeClient, type KubeClient } from "./client.ts";
import { createInformer, type Informer, type InformerOptions } from "./informer.ts";
import { ENDPOINT_SLICES, SERVICES } from "./resource-type.ts";

const closers: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const service = (name: string, port = 80) => ({
  metadata: { namespace: "default", name },
  spec: { ports: [{ port }] },
});

interface Scene {
  readonly api: FakeKubeApi;
  readonly client: KubeClient;
  readonly informer: Informer<number>;
  readonly changes: string[];
  readonly lists: () => number;
}

async function scene(
  options: Partial<InformerOptions<number>> = {},
  prepare = (_: FakeKubeApi) => {},
): Promise<Scene> {
  const api = await startFakeKubeApi();
  prepare(api);
  const client = createKubeClient({ url: new URL(api.url), token: () => undefined });
  const changes: string[] = [];
  let listed = 0;
  const informer = createInformer<number>({
    client,
    types: [SERVICES],
    clock: systemClock,
    random: () => 0,
    log: SILENT_LOGGER,
    digest: ({ spec }) => (spec as { ports: { port: number }[] }).ports[0]?.port,
    onChange: (key, next, previous) => changes.push(`${key} ${previous ?? "-"}→${next ?? "-"}`),
    onListed: () => (listed += 1),
    ...options,
  });
  closers.push(
    () => api.close(),
    () => client.close(),
    () => informer.stop(),
  );
  informer.start();
  return { api, client, informer, changes, lists: () => listed };
}

const holds = (informer: Informer<number>, expected: Record<string, number>): Promise<true> =>
  until(`the items are ${JSON.stringify(expected)}, not ${JSON.stringify([...informer.items])}`, 5_000, () =>
    JSON.stringify(Object.fromEntries([...informer.items].sort())) === JSON.stringify(expected)
      ? true
      : undefined,
  );

describe("an informer", () => {
  it("lists what is there, page by page, and follows what changes", async () => {
    const names = Array.from({ length: 1_201 }, (_, index) => `s${String(index).padStart(4, "0")}`);
    const { api, informer, changes } = await scene({}, (made) => {
      for (const name of names) made.put("services", service(name));
    });
    await until("all are there", 5_000, () => (informer.known ? true : undefined));
    expect(informer.items.size).toBe(1_201);
    expect(api.requests.filter((line) => line === "LIST services")).toHaveLength(3);
    changes.length = 0;
    api.put("services", service("s0007", 81));
    api.remove("services", "default/s0008");
    await until("both are seen", 5_000, () => (changes.length === 2 ? true : undefined));
    expect(changes).toEqual(["default/s0007 80→81", "default/s0008 80→-"]);
  });

  it("goes on where it was when its watch is cut, without another list", async () => {
    const { api, informer, lists } = await scene();
    await until("it follows", 5_000, () => (api.requests.includes("WATCH services") ? true : undefined));
    for (let round = 0; round < 5; round++) {
      api.cutWatches();
      api.put("services", service("cart", 80 + round));
      await holds(informer, { "default/cart": 80 + round });
    }
    expect(lists()).toBe(1);
  });

  it("has no complaint left once it follows again, though nothing changes", async () => {
    const { api, informer } = await scene();
    await until("it follows", 5_000, () => (api.requests.includes("WATCH services") ? true : undefined));
    api.cutWatches();
    await until("it complains", 5_000, () => informer.problem.current);
    await until("it follows again", 5_000, () => (informer.problem.current === undefined ? true : undefined));
  });

  it("lists anew after 410 Gone and concludes deletions from the complete list only", async () => {
    const { api, informer, changes } = await scene({}, (made) => {
      made.put("services", service("cart"));
      made.put("services", service("old"));
    });
    await holds(informer, { "default/cart": 80, "default/old": 80 });
    await until("it watches", 5_000, () => (api.requests.includes("WATCH services") ? true : undefined));
    await api.down();
    api.remove("services", "default/old");
    api.put("services", service("new"));
    api.store.compact();
    changes.length = 0;
    const allow = api.fail((verb) => verb === "list", 500);
    await api.up();
    await until(
      "it tried to list",
      5_000,
      () => api.requests.filter((line) => line === "LIST services").length > 2 || undefined,
    );
    expect(changes).toEqual([]);
    allow();
    await holds(informer, { "default/cart": 80, "default/new": 80 });
    expect(changes).toEqual(["default/old 80→-", "default/new -→80"]);
  });

  it("keeps what it knows while the API server is away, and says so", async () => {
    const { api, informer } = await scene({}, (made) => made.put("services", service("cart")));
    await holds(informer, { "default/cart": 80 });
    await api.down();
    await until(
      "it complains",
      5_000,
      () => informer.problem.current?.name === "kube_unreachable" || undefined,
    );
    expect([...informer.items]).toEqual([["default/cart", 80]]);
    await api.up();
    api.put("services", service("cart", 81));
    await holds(informer, { "default/cart": 81 });
    expect(informer.problem.current).toBeUndefined();
  });

  it("takes no harm from events that come twice or out of order", async () => {
    const { api, informer } = await scene();
    await until("it watches", 5_000, () => (api.requests.includes("WATCH services") ? true : undefined));
    const seen: Parameters<NonNullable<FakeKubeApi["eventFault"]>>[0][number][] = [];
    api.eventFault = (events) => {
      seen.push(...events);
      return [...events, ...[...seen].reverse(), ...seen.slice(0, 3), ...events];
    };
    api.put("services", service("a"));
    api.put("services", service("a", 81));
    api.put("services", service("b"));
    api.remove("services", "default/b");
    api.put("services", service("a", 82));
    await holds(informer, { "default/a": 82 });
    api.put("services", service("c"));
    await holds(informer, { "default/a": 82, "default/c": 80 });
  });

  it("names the verb that its role lacks and follows once it is given", async () => {
    const allows: (() => void)[] = [];
    const { api, informer } = await scene(
      { clock: { ...systemClock, after: (ms, run) => systemClock.after(ms / 20, run) } },
      (made) => {
        made.put("services", service("cart"));
        allows.push(made.fail((verb) => verb === "list", 403));
      },
    );
    const found = await until("it complains", 5_000, () => informer.problem.current);
    expect(found).toMatchObject({
      name: "kube_forbidden",
      detail: expect.stringContaining('cannot list resource "services"'),
    });
    expect(informer.known).toBe(false);
    for (const allow of allows) allow();
    await holds(informer, { "default/cart": 80 });
    await until("it watches", 5_000, () => (api.requests.includes("WATCH services") ? true : undefined));
  });

  it("uses the newest version that is served, and knows that an absent kind has no objects", async () => {
    const old = {
      group: "discovery.k8s.io",
      versions: ["v1beta1"],
      plural: "endpointslices",
      kind: "EndpointSlice",
      namespaced: true,
    };
    const api = await startFakeKubeApi({
      types: [
        old,
        { group: "", versions: ["v1"], plural: "namespaces", kind: "Namespace", namespaced: false },
      ],
    });
    const client = createKubeClient({ url: new URL(api.url), token: () => undefined });
    closers.push(
      () => api.close(),
      () => client.close(),
    );
    const common = {
      client,
      clock: systemClock,
      random: () => 0,
      log: SILENT_LOGGER,
      digest: () => 1,
      onChange: () => {},
    };
    const slices = createInformer({ ...common, types: ENDPOINT_SLICES });
    const absent = createInformer({ ...common, types: [SERVICES] });
    closers.push(
      () => slices.stop(),
      () => absent.stop(),
    );
    slices.start();
    absent.start();
    await until("both know", 5_000, () => (slices.known && absent.known) || undefined);
    expect(slices.type.version).toBe("v1beta1");
    expect(absent.problem.current?.name).toBe("kube_resource_missing");
  });

  it("moves its place forward by bookmarks", async () => {
    const { api, informer } = await scene({}, (made) => made.put("services", service("cart")));
    await holds(informer, { "default/cart": 80 });
    await until("it watches", 5_000, () => (api.requests.includes("WATCH services") ? true : undefined));
    for (let index = 0; index < 3; index++) api.put("namespaces", { metadata: { name: `n${index}` } });
    api.bookmark();
    await new Promise((resolve) => setTimeout(resolve, 50));
    api.store.compact();
    api.cutWatches();
    api.put("services", service("cart", 81));
    await holds(informer, { "default/cart": 81 });
    expect(api.requests.filter((line) => line === "LIST services")).toHaveLength(1);
  });
});
