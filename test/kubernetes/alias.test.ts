import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { KubeObject } from "../../agents/kubernetes/api/object.ts";
import {
  ENDPOINT_SLICES,
  HTTP_ROUTES,
  NAMESPACES,
  SERVICE_EXPORTS,
  SERVICE_IMPORTS,
  SERVICES,
} from "../../agents/kubernetes/api/resource-type.ts";
import { derivedSlices, type KubeScene, reach, startKubeScene } from "../fakes/kube-scene.ts";
import { type KubeCluster, until } from "../fakes/kube-world.ts";
import { isOurs } from "./made.ts";
import { alias, namespace, service, serviceExport } from "./objects.ts";

const [SLICES] = ENDPOINT_SLICES;
const [EXPORTS] = SERVICE_EXPORTS;
const [IMPORTS] = SERVICE_IMPORTS;

let scene: KubeScene;
let east: KubeCluster;
let west: KubeCluster;

beforeAll(async () => {
  scene = await startKubeScene();
  ({ east, west } = scene);
  // A namespace that the importing cluster does not have.
  await east.api.put(NAMESPACES, namespace("billing"));
  await west.api.put(NAMESPACES, namespace("closed", { "isthmus.dev/import-from": "north" }));
  await scene.offer(east, "payments", { namespace: "billing" });
  await scene.offer(east, "cart");
  await scene.offer(west, "cart");
}, 120_000);

afterAll(async () => {
  await scene?.close();
});

const put = (name: string, from: string, space?: string): Promise<KubeObject> =>
  west.api.put(IMPORTS, alias(name, from, space));

type Status = {
  readonly clusters?: readonly { readonly cluster: string }[];
  readonly conditions?: readonly {
    readonly type: string;
    readonly reason: string;
    readonly message: string;
  }[];
};

const isTold = (found: KubeObject | undefined, type: string, reason: string, message = /./): boolean =>
  ((found?.status ?? {}) as Status).conditions?.some(
    (each) => each.type === type && each.reason === reason && message.test(each.message),
  ) === true;

/** Until the import says so. */
function told(
  name: string,
  reason: string,
  { type = "Accepted", space = "shop", message = /./ } = {},
): Promise<KubeObject> {
  return until(`${name} is ${type} ${reason} ${message}`, 8_000, async () => {
    const found = await west.api.get(IMPORTS, space, name);
    return isTold(found, type, reason, message) ? found : undefined;
  });
}

const ready = (name: string): Promise<KubeObject> => told(name, "Ready", { type: "Ready" });

/** Until calls of it are answered so. */
const leadsTo = (name: string, answer: string): Promise<true> =>
  until(`${name} leads to ${answer}`, 8_000, async () => (await reach(west, name)) === answer || undefined);

/** Until nothing of ours is there for it. */
const nothingOf = (name: string, space = "shop"): Promise<true> =>
  until(`nothing of ${name} is left`, 8_000, async () => {
    const all = await Promise.all([SERVICES, SLICES].map((type) => west.api.list(type, space)));
    const left = all.flat().filter(({ metadata }) => metadata.labels?.[SERVICE_NAME] === name);
    return left.length === 0 ? true : undefined;
  });

const SERVICE_NAME = "multicluster.kubernetes.io/service-name";
const clustersOf = ({ status }: KubeObject) =>
  ((status as Status).clusters ?? []).map(({ cluster }) => cluster);

describe("a ServiceImport that somebody wrote", () => {
  it("leads a name of their own to another cluster's service of another namespace", async () => {
    await put("payments-eu", "east/billing/payments");
    expect(await reach(west, "payments-eu")).toBe("payments of east");
    const made = await ready("payments-eu");
    expect(made.spec).toMatchObject({
      type: "ClusterSetIP",
      ports: [{ name: "http", port: 80, protocol: "TCP" }],
      ips: [expect.any(String)],
    });
    expect(clustersOf(made)).toEqual(["east"]);
    expect(isTold(made, "Accepted", "Accepted")).toBe(true);
    // Still theirs: nothing says that it goes with the installation.
    expect(made.metadata).toMatchObject({ annotations: { "isthmus.dev/from": "east/billing/payments" } });
    expect([isOurs(made), made.metadata.ownerReferences]).toEqual([false, undefined]);
  });

  it("is a name in clusterset.local like any other", async () => {
    const made = await ready("payments-eu");
    const found = west.source.imported.find("shop", "payments-eu");
    expect(found?.addresses).toEqual((made.spec as { ips: string[] }).ips);
    expect(west.source.imported.find("billing", "payments")).toBeUndefined();
  });

  it("stands for one cluster's export while the plain name means all of them", async () => {
    await put("cart-east", "east/shop/cart");
    await put("carts", "shop/cart");
    expect(clustersOf(await ready("cart-east"))).toEqual(["east"]);
    expect(await reach(west, "cart-east")).toBe("cart of east");
    const sources = async (name: string) =>
      (await derivedSlices(west, name)).map(
        ({ metadata }) => metadata.labels?.[`${SERVICE_NAME.split("/")[0]}/source-cluster`],
      );
    await until("both stand for all", 8_000, async () => {
      const [plain, all] = await Promise.all([sources("cart"), sources("carts")]);
      return [plain, all].every((each) => [...each].sort().join() === "east,west") || undefined;
    });
    expect(await sources("cart-east")).toEqual(["east"]);
    expect(await reach(west, "carts", { source: "east" })).toBe("cart of east");
    expect(await reach(west, "carts", { source: "west" })).toBe("cart of west");
  });

  it("may share its name with a Service of this cluster, which stays as it is", async () => {
    await scene.serve(west, "own");
    const before = await west.api.get(SERVICES, "shop", "own");
    await put("own", "east/billing/payments");
    expect(await reach(west, "own")).toBe("payments of east");
    expect(await west.api.get(SERVICES, "shop", "own")).toEqual(before);
  });

  it("is led elsewhere by a change of what it says", async () => {
    await put("moving", "east/billing/payments");
    expect(await reach(west, "moving")).toBe("payments of east");
    await put("moving", "east/shop/cart");
    await leadsTo("moving", "cart of east");
  });

  it("is a route's parent and a route's backend like any other import", async () => {
    await put("routed", "east/billing/payments");
    await put("other", "east/shop/cart");
    expect(await reach(west, "routed")).toBe("payments of east");
    const imported = { group: "multicluster.x-k8s.io", kind: "ServiceImport" };
    const rules = [{ backendRefs: [{ ...imported, name: "other", port: 80 }] }];
    const spec = { parentRefs: [{ ...imported, name: "routed" }], rules };
    await west.api.put(HTTP_ROUTES, { metadata: { namespace: "shop", name: "away" }, spec });
    await leadsTo("routed", "cart of east");
    await west.api.remove(HTTP_ROUTES, "shop", "away");
    await leadsTo("routed", "payments of east");
  });

  it("is emptied and told when its export goes, and filled when that comes back", async () => {
    await put("waiting", "east/billing/late");
    await told("waiting", "NotFound", { message: /cluster east does not export late\.billing/ });
    await scene.offer(east, "late", { namespace: "billing" });
    expect(await reach(west, "waiting")).toBe("late of east");
    await ready("waiting");
    await east.api.remove(EXPORTS, "billing", "late");
    const { spec } = await told("waiting", "NotFound");
    expect(spec).toEqual({ type: "ClusterSetIP", ports: [] });
    await nothingOf("waiting");
  });

  it("takes a name that other clusters export, and gives it back when it is deleted", async () => {
    await scene.offer(east, "shared");
    await ready("shared");
    await put("shared", "east/billing/payments");
    await until("it is theirs", 8_000, async () => {
      const found = await west.api.get(IMPORTS, "shop", "shared");
      return found !== undefined && !isOurs(found) && isTold(found, "Accepted", "Accepted")
        ? true
        : undefined;
    });
    await leadsTo("shared", "payments of east");
    expect((await west.api.get(IMPORTS, "shop", "shared"))?.metadata.ownerReferences).toBeUndefined();
    await west.api.remove(IMPORTS, "shop", "shared");
    await leadsTo("shared", "shared of east");
    await until("it is ours", 8_000, async () => {
      const found = await west.api.get(IMPORTS, "shop", "shared");
      return found !== undefined && isOurs(found) ? true : undefined;
    });
  });

  it("is left alone, and empty, when it does not say any more what it stands for", async () => {
    await put("released", "east/billing/payments");
    await ready("released");
    await west.api.put(IMPORTS, { metadata: { namespace: "shop", name: "released" } });
    await nothingOf("released");
    const found = await until("nothing is said of it", 8_000, async () => {
      const each = await west.api.get(IMPORTS, "shop", "released");
      return (each?.metadata.annotations ?? {})["isthmus.dev/applied"] === undefined ? each : undefined;
    });
    expect(found.spec).toEqual({ type: "ClusterSetIP", ports: [] });
    expect(((found.status ?? {}) as Status).conditions ?? []).toEqual([]);
  });

  it("leaves nothing when it is deleted", async () => {
    await put("gone", "east/billing/payments");
    await ready("gone");
    await west.api.remove(IMPORTS, "shop", "gone");
    await nothingOf("gone");
    expect(await west.api.get(IMPORTS, "shop", "gone")).toBeUndefined();
  });
});

describe("a ServiceImport that cannot be what it says", () => {
  it.each([
    ["nothing", "unsaid", "", "Invalid", /expected cluster\/namespace\/name/],
    ["no path of names", "dotted", "payments.billing", "Invalid", /is "payments\.billing"; expected/],
    ["too many parts", "deep", "acme/east/billing/payments", "Invalid", /expected/],
    ["a name that is too long", "long", `east/billing/${"p".repeat(64)}`, "Invalid", /expected/],
    ["a cluster that is not there", "typo", "eest/billing/payments", "NotFound", /did you mean east/],
    [
      "a service that is not there",
      "absent",
      "east/billing/paymnts",
      "NotFound",
      /did you mean payments\.billing/,
    ],
    ["what nobody exports", "nobody", "billing/nothing", "NotFound", /no cluster exports nothing\.billing/],
    [
      "an alias, which nobody exports",
      "second",
      "shop/payments-eu",
      "NotFound",
      /no cluster exports payments-eu/,
    ],
    ["itself", "self", "shop/self", "NotFound", /no cluster exports self\.shop/],
  ])("is told so where it stands for %s", async (_, name, from, reason, message) => {
    await put(name, from);
    await told(name, reason, { message });
    await nothingOf(name);
    await west.api.remove(IMPORTS, "shop", name);
  });

  it("is told that its own name is none of a service", async () => {
    for (const name of ["a.b", "n".repeat(64)]) {
      await put(name, "east/billing/payments");
      await told(name, "Invalid", { message: /at most 63 characters/ });
      await west.api.remove(IMPORTS, "shop", name);
    }
    await put("n".repeat(63), "east/billing/payments");
    expect(await reach(west, "n".repeat(63))).toBe("payments of east");
  });

  it("is refused while this cluster exports its name, and filled afterwards", async () => {
    await west.api.put(SERVICES, service("taken"));
    await west.api.put(EXPORTS, serviceExport("taken"));
    await put("taken", "east/billing/payments");
    await told("taken", "Conflict", { message: /this cluster exports shop\/taken itself/ });
    await west.api.remove(EXPORTS, "shop", "taken");
    expect(await reach(west, "taken")).toBe("payments of east");
    await west.api.put(SERVICES, service("taken", { labels: { "isthmus.dev/export": "true" } }));
    await told("taken", "Conflict");
    await nothingOf("taken");
  });

  it("is denied what its namespace does not accept, and what its owner does not offer to this cluster", async () => {
    await put("payments", "east/billing/payments", "closed");
    const message = /namespace closed accepts nothing of cluster east \(isthmus\.dev\/import-from\)/;
    await told("payments", "Denied", { space: "closed", message });
    await scene.serve(east, "private", { namespace: "billing" });
    const annotations = { "isthmus.dev/consumers": "north" };
    await east.api.put(EXPORTS, serviceExport("private", { namespace: "billing", annotations }));
    await until(
      "the registry has it",
      8_000,
      async () => isTold(await east.api.get(EXPORTS, "billing", "private"), "Ready", "Exported") || undefined,
    );
    await put("private", "east/billing/private");
    await told("private", "Denied", { message: /cluster east exports private\.billing, but not to west/ });
  });

  it("is no alias because another cluster's export says so", async () => {
    await scene.serve(east, "odd");
    const exportedAnnotations = { "isthmus.dev/from": "east/billing/payments", "example.com/kept": "yes" };
    await east.api.put(EXPORTS, serviceExport("odd", { spec: { exportedAnnotations } }));
    const made = await ready("odd");
    expect(made.metadata.annotations).toMatchObject({ "example.com/kept": "yes" });
    expect(made.metadata.annotations?.["isthmus.dev/from"]).toBeUndefined();
    expect(await reach(west, "odd")).toBe("odd of east");
  });
});
