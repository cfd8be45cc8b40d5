import { Session } from "node:inspector/promises";
import { afterEach, describe, expect, it } from "vitest";
import { createKubeClient, type KubeClient } from "../../agents/kubernetes/api/client.ts";
import { Controller } from "../../agents/kubernetes/controller.ts";
import { KubernetesSource } from "../../agents/kubernetes/source.ts";
import { SILENT_LOGGER } from "../../federation/model/log.ts";
import { parseTrustDomain } from "../../federation/model/spiffe-id.ts";
import { createWatch } from "../../gateway/dataplane/lifecycle/watch.ts";
import { systemClock } from "../../gateway/process/clock.ts";
import { type FakeKubeApi, startFakeKubeApi } from "../fakes/kube-api/server.ts";
import { fakeRegistry, snapshotOf } from "../fakes/kube-controller.ts";
import { unwrap } from "../fakes/pki.ts";
import { until } from "../fakes/until.ts";
import { namespace, service, slice } from "./objects.ts";

const stops: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

/** A cluster of that many exported Services, with two endpoints each. */
async function cluster(
  services: number,
): Promise<{ readonly api: FakeKubeApi; readonly client: KubeClient }> {
  const api = await startFakeKubeApi();
  const client = createKubeClient({ url: new URL(api.url), token: () => undefined });
  stops.push(
    () => api.close(),
    () => client.close(),
  );
  api.put("namespaces", namespace("shop"));
  for (let index = 0; index < services; index++) {
    api.put("services", service(`s${index}`, { labels: { "isthmus.dev/export": "true" } }));
    endpoints(api, index, 1);
  }
  return { api, client };
}

function endpoints(api: FakeKubeApi, index: number, last: number): void {
  const addresses = [`10.1.0.${last}`, `10.1.0.${last + 1}`];
  api.put("endpointslices", slice(`s${index}`, { ports: [{ name: "http", port: 8080 }], addresses }));
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
async function ofSource(services: number, role: "gateway" | "agent"): Promise<number> {
  const { api, client } = await cluster(services);
  const trustDomain = unwrap(parseTrustDomain("east.demo.mesh"));
  const source = new KubernetesSource({ ...common, client, trustDomain, role, node: "a" });
  stops.push(() => source.stop());
  source.start();
  await until("all is known", 20_000, () => (source.known ? true : undefined));
  let heard = "";
  source.followEndpoints((key, addresses) => {
    if (key === "s7.shop:80") heard = addresses[0]?.address ?? "";
  });
  await pause(150);
  return steps(async () => {
    for (let change = 20; change < 30; change++) {
      endpoints(api, 7, change);
      await until("it is heard", 5_000, () => (heard === `10.1.0.${change}:8080` ? true : undefined));
    }
    await pause(100);
  });
}

async function ofController(services: number): Promise<number> {
  const { api, client } = await cluster(services);
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
  const mirrored = () =>
    api
      .objects("endpointslices", "shop")
      .find(({ metadata }) => metadata.labels?.["multicluster.kubernetes.io/service-name"] === "s7");
  const derived = () => api.objects("serviceimports", "shop").length;
  await until("all is imported", 25_000, () => (derived() === services && mirrored() ? true : undefined));
  await controller.whenIdle();
  await pause(500);
  return steps(async () => {
    for (let change = 20; change < 30; change++) {
      endpoints(api, 7, change);
      await until("it is mirrored", 5_000, () =>
        JSON.stringify(mirrored()).includes(`"10.1.0.${change}"`) ? true : undefined,
      );
    }
    await controller.whenIdle();
  });
}

describe("the work that one changed endpoint causes", () => {
  it.each(["gateway", "agent"] as const)(
    "does not grow with the cluster: in a %s",
    async (role) => {
      const [few, many] = [await ofSource(20, role), await ofSource(1_000, role)];
      expect(few).toBeGreaterThan(100);
      // Polling of this test apart, it is the same work.
      expect(many / few).toBeLessThan(1.5);
    },
    60_000,
  );

  it("does not grow with the cluster: in a controller", async () => {
    const [few, many] = [await ofController(10), await ofController(200)];
    expect(few).toBeGreaterThan(100);
    expect(many / few).toBeLessThan(1.5);
  }, 60_000);
});
