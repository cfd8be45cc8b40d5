import { Session } from "node:inspector/promises";
import { afterEach, describe, expect, it } from "vitest";
import type { KubeClient } from "../../agents/kubernetes/api/client.ts";
import type { KubeObject } from "../../agents/kubernetes/api/object.ts";
import {
  ENDPOINT_SLICES,
  NAMESPACES,
  SERVICE_IMPORTS,
  SERVICES,
} from "../../agents/kubernetes/api/resource-type.ts";
import { Controller } from "../../agents/kubernetes/controller.ts";
import { KubernetesSource } from "../../agents/kubernetes/source.ts";
import { SILENT_LOGGER } from "../../federation/model/log.ts";
import { parseTrustDomain } from "../../federation/model/spiffe-id.ts";
import { createWatch } from "../../gateway/dataplane/lifecycle/watch.ts";
import { systemClock } from "../../gateway/process/clock.ts";
import { fakeRegistry, snapshotOf } from "../fakes/kube-controller.ts";
import type { Role } from "../fakes/kube-members.ts";
import { clientAs, installAgents, type KubeApi, startKubeApi } from "../fakes/kube-world.ts";
import { unwrap } from "../fakes/pki.ts";
import { until } from "../fakes/until.ts";
import { namespace, service, slice } from "./objects.ts";

const [SLICES] = ENDPOINT_SLICES;
const [IMPORTS] = SERVICE_IMPORTS;

const stops: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function startCluster(): Promise<KubeApi> {
  const api = await startKubeApi();
  stops.push(() => api.close());
  installAgents(api);
  await api.put(NAMESPACES, namespace("shop"));
  return api;
}

/** Exported Services with two endpoints each: so many are there, and so many are wanted. */
async function grow(api: KubeApi, from: number, to: number): Promise<void> {
  const added = Array.from({ length: to - from }, (_, index) => from + index);
  for (const some of chunks(added, 20))
    await Promise.all(
      some.map(async (index) => {
        await api.put(SERVICES, service(`s${index}`, { labels: { "isthmus.dev/export": "true" } }));
        await putEndpoints(api, index, 1);
      }),
    );
}

async function rightsOf(api: KubeApi, role: Role): Promise<KubeClient> {
  const client = await clientAs(api, role);
  stops.push(() => client.close());
  return client;
}

function chunks<T>(all: readonly T[], size: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, at) =>
    all.slice(at * size, (at + 1) * size),
  );
}

function putEndpoints(api: KubeApi, index: number, last: number): Promise<KubeObject> {
  const addresses = [`10.1.0.${last}`, `10.1.0.${last + 1}`];
  return api.put(SLICES, slice(`s${index}`, { ports: [{ name: "http", port: 8080 }], addresses }));
}

const common = { clock: systemClock, random: () => 0.5, log: SILENT_LOGGER };

/** How often any function or block of our own code ran: counted by V8, and the same on every machine. */
async function steps(work: () => Promise<void>): Promise<number> {
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  await work();
  const { result } = await session.post("Profiler.takePreciseCoverage");
  await session.post("Profiler.stopPreciseCoverage");
  session.disconnect();
  const ours = result.filter(({ url }) => /\/(?:agents|gateway|federation)\/(?!.*\.test\.)/.test(url));
  expect(ours.length).toBeGreaterThan(0);
  return ours
    .flatMap(({ functions }) => functions.flatMap(({ ranges }) => ranges.map(({ count }) => count)))
    .reduce((sum, count) => sum + count, 0);
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Ten changes of one Service's endpoints, each heard before the next one. */
async function ofSource(api: KubeApi, role: "gateway" | "agent"): Promise<number> {
  await putEndpoints(api, 7, 1);
  const client = await rightsOf(api, role);
  const trustDomain = unwrap(parseTrustDomain("east.demo.mesh"));
  const source = new KubernetesSource({ ...common, client, trustDomain, role, node: "a" });
  stops.push(() => source.stop());
  source.start();
  await until("all is known", 60_000, () => (source.known ? true : undefined));
  let heard = "";
  source.followEndpoints((key, addresses) => {
    if (key === "s7.shop:80") heard = addresses[0]?.address ?? "";
  });
  await pause(150);
  const counted = await steps(async () => {
    for (let change = 20; change < 30; change++) {
      await putEndpoints(api, 7, change);
      await until("it is heard", 5_000, () => (heard === `10.1.0.${change}:8080` ? true : undefined));
    }
    await pause(100);
  });
  source.stop();
  return counted;
}

function startController(client: KubeClient): Controller {
  const controller = new Controller({
    ...common,
    client,
    cluster: "east",
    snapshot: createWatch<ReturnType<typeof snapshotOf> | undefined>(snapshotOf(1, [])),
    registry: fakeRegistry(),
    leading: createWatch(true),
  });
  stops.push(() => controller.stop());
  controller.start();
  return controller;
}

async function ofController(api: KubeApi, controller: Controller, services: number): Promise<number> {
  const made = async (): Promise<KubeObject | undefined> => {
    const [mirrored] = (await api.list(SLICES, "shop")).filter(
      ({ metadata }) => metadata.labels?.["multicluster.kubernetes.io/service-name"] === "s7",
    );
    return (await api.list(IMPORTS, "shop")).length === services ? mirrored : undefined;
  };
  const { metadata } = await until("all is imported", 120_000, made);
  await controller.whenIdle();
  await pause(500);
  return steps(async () => {
    for (let change = 20; change < 30; change++) {
      await putEndpoints(api, 7, change);
      await until("it is mirrored", 5_000, async () => {
        const mirrored = await api.get(SLICES, "shop", metadata.name);
        return JSON.stringify(mirrored).includes(`"10.1.0.${change}"`) ? true : undefined;
      });
    }
    await controller.whenIdle();
  });
}

describe("the work that one changed endpoint causes", () => {
  it("does not grow with the cluster: in a gateway, and in an agent", async () => {
    const api = await startCluster();
    await grow(api, 0, 20);
    const few = [await ofSource(api, "gateway"), await ofSource(api, "agent")] as const;
    await grow(api, 20, 1_000);
    const many = [await ofSource(api, "gateway"), await ofSource(api, "agent")] as const;
    expect(Math.min(...few)).toBeGreaterThan(100);
    // Polling of this test apart, it is the same work.
    expect(many[0] / few[0]).toBeLessThan(1.5);
    expect(many[1] / few[1]).toBeLessThan(1.5);
  }, 300_000);

  it("does not grow with the cluster: in a controller", async () => {
    const api = await startCluster();
    const controller = startController(await rightsOf(api, "controller"));
    await grow(api, 0, 10);
    const few = await ofController(api, controller, 10);
    await grow(api, 10, 200);
    const many = await ofController(api, controller, 200);
    expect(few).toBeGreaterThan(100);
    expect(many / few).toBeLessThan(1.5);
  }, 300_000);
});
