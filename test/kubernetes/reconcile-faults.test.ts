// Longer than other files: a world, its scripted steps and what is expected of them belong together.
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createKubeClient, type KubeClient } from "../../agents/kubernetes/api/client.ts";
import { NAMESPACES, type ResourceType, SERVICES } from "../../agents/kubernetes/api/resource-type.ts";
import { Controller } from "../../agents/kubernetes/controller.ts";
import { findInstallation } from "../../agents/kubernetes/member.ts";
import type { Snapshot, SnapshotOffer } from "../../federation/model/snapshot.ts";
import { createWatch, type PublishableWatch } from "../../gateway/dataplane/lifecycle/watch.ts";
import { type KubeFaults, startKubeFaults, type WatchFault } from "../fakes/kube-api/fault-proxy.ts";
import { KUBE_APISERVER } from "../fakes/kube-api/real.ts";
import { fakeRegistry, HASTY, offerOf, snapshotOf } from "../fakes/kube-controller.ts";
import { accessAs, type KubeApi, startKubeApi } from "../fakes/kube-world.ts";
import { createMemoryLog } from "../fakes/memory-log.ts";
import { until } from "../fakes/until.ts";
import { clear, collectGarbage, EXPORTS, IMPORTS, isOurs, made, OURS, SLICES } from "./made.ts";
import { alias, namespace, service, serviceExport, slice } from "./objects.ts";

const SPACE = "shop";

/** One API server for all of this file; each test begins with nothing of its own on it. */
let api: KubeApi;
let faults: KubeFaults;
let access: Awaited<ReturnType<typeof accessAs>>;

beforeAll(async () => {
  api = await startKubeApi();
  faults = await startKubeFaults(api.access);
  access = faults.through(await accessAs(api, "controller"));
  await api.put(NAMESPACES, namespace(SPACE));
  const ports = [{ name: "tunnel", port: 15008 }];
  await api.put(SERVICES, service("isthmus-gateway", { namespace: "isthmus-system", ports }));
  const gateways = { namespace: "isthmus-system", ports, addresses: ["10.9.0.1", "10.9.0.2"] };
  await api.put(SLICES, slice("isthmus-gateway", gateways));
}, 120_000);

afterAll(async () => {
  await faults?.close();
  await api?.close();
});

class Scene {
  readonly log = createMemoryLog();
  readonly offers = new Map<string, SnapshotOffer>();
  readonly snapshot: PublishableWatch<Snapshot | undefined> = createWatch<Snapshot | undefined>(
    snapshotOf(1, []),
  );
  readonly controllers: Controller[] = [];
  readonly #clients: KubeClient[] = [];
  /** How many requests had been made when this scene began. */
  readonly #before = faults.asked.length;
  #revision = 1;

  /** One that leads, and follows this snapshot. */
  async start(snapshot = this.snapshot): Promise<Controller> {
    const client = createKubeClient(access);
    this.#clients.push(client);
    const controller = new Controller({
      client,
      ...(await findInstallation(client, this.log)),
      cluster: "west",
      snapshot,
      registry: fakeRegistry(),
      leading: createWatch(true),
      clock: HASTY,
      random: () => 0.5,
      log: this.log,
    });
    this.controllers.push(controller);
    controller.start();
    return controller;
  }

  publish(): void {
    const offers = [...this.offers.values()];
    const snapshot = snapshotOf(++this.#revision, offers);
    // As the registry compiles what is declared: each of them may have an alias.
    const aliases = snapshot.imports.map((each) => ({ ...each, name: `${each.name}-eu` }));
    this.snapshot.publish({ ...snapshot, imports: [...snapshot.imports, ...aliases] });
  }

  offer(name: string): void {
    this.offers.set(name, offerOf(SPACE, name, "east"));
    this.publish();
  }

  withdraw(name: string): void {
    this.offers.delete(name);
    this.publish();
  }

  asked(verb: string): readonly string[] {
    return faults.asked
      .slice(this.#before)
      .flatMap((each) => (each.verb === verb ? `${each.resource} ${each.name}` : []));
  }

  /** Until nothing is left to do and nothing changes any more. */
  async settle(): Promise<void> {
    let before = -1;
    let quiet = 0;
    await until("it settles", 20_000, async () => {
      for (const controller of this.controllers) await controller.whenIdle();
      await new Promise((resolve) => setTimeout(resolve, 70));
      const known = this.controllers.every((controller) => controller.known);
      // Lists are left out: kinds that nobody installed are asked for again and again.
      const asked = faults.asked.filter(({ verb }) => verb !== "list").length;
      quiet = known && asked === before ? quiet + 1 : 0;
      before = asked;
      return quiet === 3 ? true : undefined;
    });
  }

  stop(): void {
    for (const controller of this.controllers.splice(0)) controller.stop();
    for (const client of this.#clients.splice(0)) client.close();
  }
}

const scenes: Scene[] = [];
function scene(): Scene {
  const made = new Scene();
  scenes.push(made);
  return made;
}

afterEach(async () => {
  for (const each of scenes.splice(0)) each.stop();
  faults.watches = "none";
  await clear(api, SPACE, [EXPORTS, ...OURS]);
});

/** Everything of ours is taken away, and a new controller that knows the same makes what it thinks should be there. */
async function freshResult(old: Scene): Promise<unknown> {
  old.stop();
  faults.watches = "none";
  await clear(api, SPACE, OURS, isOurs);
  for (const { metadata } of await api.list(EXPORTS, SPACE)) {
    // Told anew: conditions would show what the old controllers said.
    await api.remove(EXPORTS, SPACE, metadata.name);
    await api.put(EXPORTS, serviceExport(metadata.name));
  }
  for (const { metadata } of await api.list(IMPORTS, SPACE)) {
    const from = metadata.annotations?.["isthmus.dev/from"];
    if (from === undefined) continue;
    await api.remove(IMPORTS, SPACE, metadata.name);
    await api.put(IMPORTS, alias(metadata.name, from));
  }
  const fresh = scene();
  for (const [name, each] of old.offers) fresh.offers.set(name, each);
  fresh.publish();
  await fresh.start();
  await fresh.settle();
  return made(api, SPACE);
}

async function isAsFresh(world: Scene): Promise<void> {
  await world.settle();
  await collectGarbage(api, SPACE);
  await world.settle();
  const there = await made(api, SPACE);
  expect(there).toEqual(await freshResult(world));
}

/** This one is never touched: whatever happens, its objects must stay. */
async function prepare(): Promise<void> {
  await api.put(SERVICES, service("stable"));
  await api.put(SLICES, slice("stable", { ports: [{ name: "http", port: 8080 }], addresses: ["10.8.0.1"] }));
  await api.put(EXPORTS, serviceExport("stable"));
}

function stableStays(world: Scene): void {
  const stable = new Set(["serviceimports shop/stable"]);
  const gone = world.asked("delete").filter((line) => line.includes("stable") || stable.has(line));
  expect(gone).toEqual([]);
}

const NAMED = [
  "export",
  "unexport",
  "offer",
  "withdraw",
  "service",
  "noservice",
  "alias",
  "unalias",
] as const;
type NamedStep = (typeof NAMED)[number];
type Step =
  | {
      readonly kind: NamedStep;
      readonly name: string;
    }
  | { readonly kind: "endpoints"; readonly name: string; readonly last: number }
  | { readonly kind: "cut" | "gone" | "conflicts" | "restart" | "twice" | "errors" | "foreign" };

const NAMES = ["cart", "stock"] as const;
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constantFrom(...NAMED),
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

async function act(world: Scene, { kind, ...rest }: Step): Promise<void> {
  const name = "name" in rest ? rest.name : "";
  switch (kind) {
    case "export":
      return void (await api.put(EXPORTS, serviceExport(name)));
    case "unexport":
      return api.remove(EXPORTS, SPACE, name);
    case "service":
      return void (await api.put(SERVICES, service(name)));
    case "noservice":
      return api.remove(SERVICES, SPACE, name);
    case "endpoints": {
      const last = "last" in rest ? rest.last : 1;
      const addresses = Array.from({ length: last }, (_, index) => `10.8.1.${index + 1}`);
      return void (await api.put(SLICES, slice(name, { ports: [{ name: "http", port: 8080 }], addresses })));
    }
    case "offer":
      return world.offer(name);
    case "withdraw":
      return world.withdraw(name);
    case "alias":
      return void (await api.put(IMPORTS, alias(`${name}-eu`, `east/${SPACE}/${name}`)));
    case "unalias":
      return api.remove(IMPORTS, SPACE, `${name}-eu`);
    case "cut":
      return faults.cut();
    case "gone":
      return faults.expire();
    case "conflicts":
      return refuseSome(["patch"], 5, 409, "the object has been modified");
    case "errors":
      return refuseSome(["patch", "delete", "list"], 4, 500, "etcdserver: request timed out");
    case "restart":
      // In the middle of whatever it was writing.
      world.controllers.pop()?.stop();
      return void (await world.start());
    case "twice":
      // Two that both believe to lead, as when a lease was lost and its holder has not noticed.
      if (world.controllers.length < 3) await world.start();
      return;
    case "foreign": {
      // Somebody edits what is ours.
      const ours = (await api.list(IMPORTS, SPACE)).find(isOurs);
      if (ours === undefined) return;
      const spec = { ...(ours.spec as object), type: "Headless" };
      return void (await api.put(IMPORTS, {
        metadata: { namespace: SPACE, name: ours.metadata.name },
        spec,
      }));
    }
  }
}

function refuseSome(verbs: readonly string[], times: number, status: number, message: string): void {
  let left = times;
  const stop = faults.refuse(
    ({ verb }) => {
      const hit = verbs.includes(verb) && left > 0;
      if (hit) left -= 1;
      if (left === 0) stop();
      return hit;
    },
    status,
    message,
  );
}

const at = (kind: NamedStep, name: string) => ({ kind, name });
/** Every kind of object comes, changes and goes, of our own exports and of others'. */
const HISTORY: readonly Step[] = [
  at("alias", "cart"),
  at("offer", "cart"),
  at("alias", "stock"),
  at("service", "stock"),
  { kind: "endpoints", name: "stock", last: 3 },
  at("export", "stock"),
  { kind: "foreign" },
  { kind: "endpoints", name: "stock", last: 5 },
  at("offer", "stock"),
  at("unexport", "stock"),
  at("unalias", "stock"),
  at("withdraw", "cart"),
  at("export", "stock"),
  at("offer", "cart"),
  at("noservice", "stock"),
  at("withdraw", "stock"),
];

async function play(world: Scene, steps: readonly Step[]): Promise<void> {
  for (const [index, each] of steps.entries()) {
    await act(world, each);
    if (index % 3 === 2) await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe(`reconciling under faults, on ${KUBE_APISERVER === undefined ? "the double" : "a real API server"}`, () => {
  it.each<WatchFault>(["cut", "torn", "disorder"])(
    "ends where a fresh reconcile begins when each watch is %s at every event",
    async (fault) => {
      const world = scene();
      await prepare();
      faults.watches = fault;
      await world.start();
      await world.settle();
      const watched = world.asked("watch").length;
      for (const each of HISTORY) {
        await act(world, each);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      await isAsFresh(world);
      stableStays(world);
      // It really was cut: each event cost a watch.
      if (fault !== "disorder") expect(world.asked("watch").length - watched).toBeGreaterThan(20);
    },
    60_000,
  );

  it("gets through a storm of conflicts: each write is refused five times", async () => {
    const world = scene();
    await prepare();
    const refused = new Map<string, number>();
    const stop = faults.refuse(
      ({ verb, resource, name }) => {
        const key = `${verb} ${resource} ${name}`;
        const times = refused.get(key) ?? 0;
        const hit = verb === "patch" && times < 5;
        if (hit) refused.set(key, times + 1);
        return hit;
      },
      409,
      "Operation cannot be fulfilled: the object has been modified",
    );
    await world.start();
    await play(world, HISTORY);
    await isAsFresh(world);
    stop();
    stableStays(world);
    expect([...refused.values()].filter((times) => times === 5).length).toBeGreaterThan(5);
  }, 60_000);

  it("has two leaders of which one knows an older snapshot, and neither deletes what lives", async () => {
    const world = scene();
    await prepare();
    const late = createWatch<Snapshot | undefined>(world.snapshot.current);
    await world.start();
    await world.start(late);
    await world.settle();
    world.offer("cart");
    world.offer("stock");
    await api.put(IMPORTS, alias("cart-eu", `east/${SPACE}/cart`));
    await world.settle();
    const before = await made(api, SPACE);
    // The one that has not heard of the exports has a reason to look at each of them.
    faults.expire();
    await api.put(IMPORTS, {
      metadata: { namespace: SPACE, name: "cart", annotations: { "example.com/note": "seen" } },
    });
    await world.settle();
    expect(world.asked("delete")).toEqual([]);
    expect(await made(api, SPACE)).toEqual(before);
    // Withdrawn while it did not look: it goes from one snapshot without the export to another one without it.
    world.controllers.shift()?.stop();
    world.offers.delete("cart");
    world.publish();
    late.publish(world.snapshot.current);
    await world.settle();
    expect((await api.list(IMPORTS, SPACE)).map(({ metadata }) => metadata.name).sort()).toEqual([
      "cart-eu",
      "stable",
      "stock",
    ]);
    await isAsFresh(world);
    stableStays(world);
  }, 60_000);

  it("ends where a fresh reconcile begins after any history, and never deletes what should stay", {
    timeout: 120_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 4, maxLength: 14 }),
        fc.constantFrom<WatchFault>("none", "cut", "torn", "disorder"),
        async (steps, fault) => {
          const world = scene();
          await prepare();
          faults.watches = fault;
          await world.start();
          await world.settle();
          await play(world, steps);
          await isAsFresh(world);
          stableStays(world);
          for (const each of scenes.splice(0)) each.stop();
          await clear(api, SPACE, [EXPORTS, ...OURS]);
        },
      ),
      { numRuns: KUBE_APISERVER === undefined ? 4 : 10, seed: 20_261_125, endOnFailure: true },
    );
  });

  it("keeps everything while the API server is away, and is right afterwards", async () => {
    const world = scene();
    await prepare();
    world.offer("cart");
    await world.start();
    await world.settle();
    const before = await made(api, SPACE);
    await api.down();
    // While nobody answers, the federation changes: the controller may only remember.
    world.offer("stock");
    world.withdraw("cart");
    await new Promise((resolve) => setTimeout(resolve, 100));
    await api.up();
    faults.expire();
    expect(before).toContainEqual(expect.objectContaining({ name: "serviceimports/cart" }));
    await isAsFresh(world);
    stableStays(world);
  }, 120_000);

  it("goes on with the rest when its role lacks one verb, and names it", async () => {
    const world = scene();
    await prepare();
    const message = 'cannot patch resource "endpointslices" in API group "discovery.k8s.io"';
    const allow = faults.refuse(
      ({ verb, resource }) => verb === "patch" && resource === "endpointslices",
      403,
      message,
    );
    await world.start();
    const lists = (type: ResourceType) => async () =>
      (await api.list(type, SPACE)).some(isOurs) ? true : undefined;
    await until("the import is there", 5_000, lists(IMPORTS));
    await until("its Service too", 5_000, lists(SERVICES));
    const said = await until("it says so", 5_000, () => world.log.of("kube_write_failed")[0]);
    expect(said).toMatchObject({ code: "ISTH-6503", detail: expect.stringContaining(message) });
    allow();
    await until("and its slice, once it may", 5_000, lists(SLICES));
  });

  it("touches nothing while it has no snapshot, or a kind was never listed", async () => {
    const world = scene();
    await prepare();
    world.offer("cart");
    const first = await world.start();
    await world.settle();
    first.stop();
    world.controllers.splice(0);
    const before = await made(api, SPACE);
    const allow = faults.refuse(
      ({ verb, resource }) => verb === "list" && resource === "serviceexports",
      403,
      "forbidden",
    );
    const listed = () => world.asked("list").filter((line) => line.startsWith("services ")).length;
    const until1 = listed();
    world.snapshot.publish(undefined);
    await world.start();
    await until("it lists what it may", 5_000, () => listed() > until1 || undefined);
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(await made(api, SPACE)).toEqual(before);
    expect(world.asked("delete")).toEqual([]);
    allow();
  });
});
