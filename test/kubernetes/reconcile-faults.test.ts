// Longer than other files: a world, its scripted steps and what is expected of them belong together.
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { createKubeClient, type KubeClient } from "../../agents/kubernetes/api/client.ts";
import { Controller } from "../../agents/kubernetes/controller.ts";
import { SILENT_LOGGER } from "../../federation/model/log.ts";
import { ok } from "../../federation/model/result.ts";
import type { AppliedResource } from "../../federation/model/resource.ts";
import type { Snapshot, SnapshotOffer } from "../../federation/model/snapshot.ts";
import { createWatch, type PublishableWatch } from "../../gateway/dataplane/lifecycle/watch.ts";
import type { MemberClient } from "../../gateway/discovery/index.ts";
import { type Clock, systemClock } from "../../gateway/process/clock.ts";
import { type FakeKubeApi, startFakeKubeApi } from "../fakes/kube-api/server.ts";
import { until } from "../fakes/until.ts";
import { namespace, service, serviceExport, slice } from "./objects.ts";

/** Retries that take seconds in life: what is tried here is that they end well, not how long they take. */
const HASTY: Clock = {
  now: systemClock.now,
  after: (ms, run) => systemClock.after(Math.min(ms / 20, 50), run),
};
const SINCE = "2026-01-01T00:00:00Z";

/** Answers declarations as the registry does, with the first time that it saw each name. */
function fakeRegistry(): MemberClient {
  return {
    async request({ body }) {
      const { resources } = body as { resources: readonly AppliedResource[] };
      const results = resources.map(({ kind, metadata }) => ({
        kind,
        metadata: { ...metadata, firstSeen: SINCE, resourceVersion: 1 },
        action: "unchanged",
        conditions: [],
      }));
      return ok({ status: 200, text: JSON.stringify({ revision: 1, results }) });
    },
  };
}

function snapshotWith(offers: readonly SnapshotOffer[]): Snapshot {
  const imports = offers.map(({ namespace: space, name, cluster, ports }) => ({
    namespace: space,
    name,
    from: { namespace: space, name, cluster, trustDomain: `${cluster}.test.mesh` },
    ports,
    workloads: ["*"],
  }));
  return { revision: 1, imports, offers } as unknown as Snapshot;
}

function offer(name: string, cluster: string, port = 80): SnapshotOffer {
  return {
    namespace: "shop",
    name,
    cluster,
    ports: [{ port, protocol: "http" }],
    firstSeen: "2026-02-01T00:00:00Z",
  };
}

interface Scene {
  readonly api: FakeKubeApi;
  readonly snapshot: PublishableWatch<Snapshot | undefined>;
  readonly offers: Map<string, SnapshotOffer>;
  start(): Controller;
}

const closers: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function scene(seed?: Scene): Promise<Scene> {
  const api = await startFakeKubeApi();
  const offers = new Map(seed?.offers);
  const snapshot = createWatch<Snapshot | undefined>(snapshotWith([...offers.values()]));
  const clients: KubeClient[] = [];
  const controllers: Controller[] = [];
  closers.push(async () => {
    for (const controller of controllers) controller.stop();
    for (const client of clients) client.close();
    await api.close();
  });
  return {
    api,
    snapshot,
    offers,
    start() {
      const client = createKubeClient({ url: new URL(api.url), token: () => undefined });
      clients.push(client);
      const controller = new Controller({
        client,
        cluster: "west",
        snapshot,
        registry: fakeRegistry(),
        leading: createWatch(true),
        clock: HASTY,
        random: () => 0.5,
        log: SILENT_LOGGER,
      });
      controllers.push(controller);
      controller.start();
      return controller;
    },
  };
}

const OURS = ["serviceimports", "services", "endpointslices"] as const;

/** What we made, without what differs from run to run. */
function made({ api }: Scene): unknown {
  return OURS.flatMap((plural) =>
    api
      .objects(plural)
      .filter(({ metadata }) => metadata.labels?.["isthmus.dev/managed-by"] === "isthmus")
      .map(({ metadata, spec, ports, endpoints }) => {
        // The address is the API server's choice.
        const {
          clusterIP: _one,
          clusterIPs: _all,
          ips: _ips,
          ...rest
        } = (spec ?? {}) as Record<string, unknown>;
        const owners = metadata.ownerReferences?.map(({ kind: of, name }) => `${of}/${name}`);
        return {
          name: `${plural}/${metadata.namespace}/${metadata.name}`,
          owners,
          spec: rest,
          ports,
          endpoints,
        };
      }),
  ).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Objects of other people: what a fresh cluster is given, to see what a fresh controller makes of it. */
async function freshResult(old: Scene): Promise<unknown> {
  const fresh = await scene(old);
  for (const plural of ["namespaces", "services", "endpointslices", "serviceexports"]) {
    for (const object of old.api.objects(plural)) {
      const { labels } = object.metadata;
      if (labels?.["isthmus.dev/managed-by"] === "isthmus" || object.metadata.deletionTimestamp !== undefined)
        continue;
      const { name, namespace: space, annotations } = object.metadata;
      const metadata = {
        name,
        ...(space === undefined ? {} : { namespace: space }),
        labels: labels ?? {},
        annotations: annotations ?? {},
      };
      const { status: _status, ...rest } = object;
      fresh.api.put(plural, { ...rest, metadata });
    }
  }
  const controller = fresh.start();
  await settle(fresh, [controller]);
  return made(fresh);
}

/** Until nothing is left to do and nothing changes any more. */
async function settle(world: Scene, controllers: readonly Controller[]): Promise<void> {
  let before = "";
  let quiet = 0;
  await until("it settles", 10_000, async () => {
    for (const controller of controllers) await controller.whenIdle();
    await new Promise((resolve) => setTimeout(resolve, 60));
    const now = `${world.api.store.version} ${controllers.every((controller) => controller.known)}`;
    quiet = now === before && now.endsWith("true") ? quiet + 1 : 0;
    before = now;
    return quiet === 3 ? true : undefined;
  });
}

function prepare({ api }: Scene): void {
  api.put("namespaces", namespace("shop"));
  api.put(
    "services",
    service("isthmus-gateway", { namespace: "isthmus-system", ports: [{ name: "tunnel", port: 15008 }] }),
  );
  const gateway = {
    namespace: "isthmus-system",
    ports: [{ name: "tunnel", port: 15008 }],
    addresses: ["10.9.0.1", "10.9.0.2"],
  };
  api.put("endpointslices", slice("isthmus-gateway", gateway));
  // This one is never touched: whatever happens, its objects must stay.
  api.put("services", service("stable"));
  api.put(
    "endpointslices",
    slice("stable", { ports: [{ name: "http", port: 8080 }], addresses: ["10.8.0.1"] }),
  );
  api.put("serviceexports", serviceExport("stable"));
}

type Step =
  | {
      readonly kind: "export" | "unexport" | "offer" | "withdraw" | "service" | "noservice";
      readonly name: string;
    }
  | { readonly kind: "endpoints"; readonly name: string; readonly last: number }
  | { readonly kind: "cut" | "gone" | "conflicts" | "restart" | "twice" | "errors" | "foreign" };

const NAMES = ["cart", "stock"] as const;
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constantFrom("export", "unexport", "offer", "withdraw", "service", "noservice"),
    name: fc.constantFrom(...NAMES),
  }) as fc.Arbitrary<Step>,
  fc.record({
    kind: fc.constant("endpoints"),
    name: fc.constantFrom(...NAMES),
    last: fc.integer({ min: 1, max: 9 }),
  }) as fc.Arbitrary<Step>,
  fc.record({
    kind: fc.constantFrom("cut", "gone", "conflicts", "restart", "twice", "errors", "foreign"),
  }) as fc.Arbitrary<Step>,
);

function act(world: Scene, controllers: Controller[], { kind, ...rest }: Step): void {
  const { api, offers, snapshot } = world;
  const name = "name" in rest ? rest.name : "";
  const drop = (plural: string, key: string): void => {
    if (api.store.get(api.type(plural), key) !== undefined) api.remove(plural, key);
  };
  switch (kind) {
    case "export":
      return void api.put("serviceexports", serviceExport(name));
    case "unexport":
      return drop("serviceexports", `shop/${name}`);
    case "service":
      return void api.put("services", service(name));
    case "noservice":
      return drop("services", `shop/${name}`);
    case "endpoints": {
      const last = "last" in rest ? rest.last : 1;
      const addresses = Array.from({ length: last }, (_, index) => `10.8.1.${index + 1}`);
      return void api.put(
        "endpointslices",
        slice(name, { ports: [{ name: "http", port: 8080 }], addresses }),
      );
    }
    case "offer":
      offers.set(name, offer(name, "east"));
      return snapshot.publish(snapshotWith([...offers.values()]));
    case "withdraw":
      offers.delete(name);
      return snapshot.publish(snapshotWith([...offers.values()]));
    case "cut":
      return api.cutWatches();
    case "gone":
      api.store.compact();
      return api.cutWatches();
    case "conflicts": {
      let left = 5;
      api.fail((verb) => verb === "patch" && left-- > 0, 409, "the object has been modified");
      return;
    }
    case "errors": {
      let left = 4;
      api.fail(
        (verb) => ["patch", "delete", "list"].includes(verb) && left-- > 0,
        500,
        "etcdserver: request timed out",
      );
      return;
    }
    case "restart":
      // In the middle of whatever it was writing.
      controllers.pop()?.stop();
      return void controllers.push(world.start());
    case "twice":
      // Two that both believe to lead, as when a lease was lost and its holder has not noticed.
      if (controllers.length < 3) controllers.push(world.start());
      return;
    case "foreign": {
      // Somebody edits what is ours.
      const [ours] = api.objects("serviceimports");
      if (ours === undefined) return;
      const { namespace: space, name: of } = ours.metadata;
      return void api.put("serviceimports", {
        metadata: { namespace: space, name: of },
        spec: { type: "Headless" },
      });
    }
  }
}

describe("reconciling under faults", () => {
  it("ends where a fresh reconcile begins, and never deletes what should stay", {
    timeout: 60_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 4, maxLength: 14 }),
        fc.boolean(),
        async (steps, noisy) => {
          const world = await scene();
          prepare(world);
          const seen: Parameters<NonNullable<FakeKubeApi["eventFault"]>>[0][number][] = [];
          if (noisy) {
            world.api.eventFault = (events) => {
              seen.push(...events);
              const alike = seen.filter(({ typeKey }) => typeKey === events[0]?.typeKey);
              return [...events, ...alike.slice(-4).reverse(), ...events];
            };
          }
          const controllers = [world.start()];
          await settle(world, controllers);
          for (const [index, each] of steps.entries()) {
            act(world, controllers, each);
            if (index % 3 === 2) await new Promise((resolve) => setTimeout(resolve, 5));
          }
          await settle(world, controllers);
          // A real cluster's garbage collector removes what an owner left behind.
          world.api.store.collectGarbage(OURS.map((plural) => world.api.type(plural)));
          await settle(world, controllers);
          expect(made(world)).toEqual(await freshResult(world));
          const stable = world.api.requests.filter(
            (line) => line.startsWith("DELETE") && line.includes("stable"),
          );
          expect(stable).toEqual([]);
          for (const controller of controllers) controller.stop();
          await world.api.close();
        },
      ),
      { numRuns: 6, seed: 20_261_125, endOnFailure: true },
    );
  });

  it("keeps everything while the API server is away, and is right afterwards", async () => {
    const world = await scene();
    prepare(world);
    act(world, [], { kind: "offer", name: "cart" });
    const controllers = [world.start()];
    await settle(world, controllers);
    const before = made(world);
    await world.api.down();
    // While nobody answers, the federation changes: the controller may only remember.
    act(world, controllers, { kind: "offer", name: "stock" });
    act(world, controllers, { kind: "withdraw", name: "cart" });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(made(world)).toEqual(before);
    world.api.store.compact();
    await world.api.up();
    await settle(world, controllers);
    expect(made(world)).toEqual(await freshResult(world));
  });

  it("touches nothing while it has no snapshot, or a kind was never listed", async () => {
    const world = await scene();
    prepare(world);
    act(world, [], { kind: "offer", name: "cart" });
    const first = world.start();
    await settle(world, [first]);
    first.stop();
    const before = made(world);
    const allow = world.api.fail((verb, resource) => verb === "list" && resource === "serviceexports", 403);
    world.snapshot.publish(undefined);
    world.start();
    await until(
      "it lists what it may",
      5_000,
      () => world.api.requests.filter((line) => line === "LIST services").length > 1 || undefined,
    );
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(made(world)).toEqual(before);
    expect(world.api.requests.filter((line) => line.startsWith("DELETE"))).toEqual([]);
    allow();
  });

  it("goes on with the rest when its role lacks one verb, and names it", async () => {
    const world = await scene();
    prepare(world);
    world.api.fail(
      (verb, resource) => verb === "patch" && resource === "endpointslices",
      403,
      'cannot patch resource "endpointslices" in API group "discovery.k8s.io"',
    );
    const controller = world.start();
    await until("the import is there", 5_000, () =>
      world.api.objects("serviceimports").length > 0 ? true : undefined,
    );
    await until("its Service too", 5_000, () =>
      world.api.objects("services", "shop").length > 1 ? true : undefined,
    );
    expect(controller.known).toBe(true);
  });
});
