// Longer than other files: one row for every name of the MCS conformance suite (KEP-1645), read as a table.
import { Resolver } from "node:dns/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openDnsServer } from "../../agents/dns/server.ts";
import type { KubeObject } from "../../agents/kubernetes/api/object.ts";
import { SERVICE_EXPORTS, SERVICE_IMPORTS, SERVICES } from "../../agents/kubernetes/api/resource-type.ts";
import { formatAddress } from "../../federation/model/address.ts";
import { createLogger } from "../../federation/model/log.ts";
import { derivedSlices, type KubeScene, reach, startKubeScene, wayTo } from "../fakes/kube-scene.ts";
import { type KubeCluster, until } from "../fakes/kube-world.ts";
import { serviceExport, type ServiceOptions } from "./objects.ts";

const [EXPORTS] = SERVICE_EXPORTS;
const [IMPORTS] = SERVICE_IMPORTS;

let scene: KubeScene;
let east: KubeCluster;
let west: KubeCluster;

beforeAll(async () => {
  scene = await startKubeScene();
  ({ east, west } = scene);
}, 180_000);

afterAll(async () => {
  await scene?.close();
});

const serve = (cluster: KubeCluster, name: string, options: ServiceOptions = {}): Promise<void> =>
  scene.serve(cluster, name, options);

const exportIt = (cluster: KubeCluster, name: string, spec?: object) =>
  cluster.api.put(EXPORTS, serviceExport(name, spec === undefined ? {} : { spec }));

async function imported(
  cluster: KubeCluster,
  name: string,
  matches: (made: KubeObject) => boolean = () => true,
): Promise<KubeObject> {
  return until(`${cluster.name} imports ${name}`, 8_000, async () => {
    const found = await cluster.api.get(IMPORTS, "shop", name);
    return found !== undefined && matches(found) ? found : undefined;
  });
}

async function condition(
  cluster: KubeCluster,
  name: string,
  type: string,
  status: string,
): Promise<{ reason: string }> {
  return until(`${name} in ${cluster.name} is ${type}=${status}`, 8_000, async () => {
    const found = await cluster.api.get(EXPORTS, "shop", name);
    const { conditions = [] } = (found?.status ?? {}) as {
      conditions?: { type: string; status: string; reason: string }[];
    };
    return conditions.find((each) => each.type === type && each.status === status);
  });
}

const slicesOf = (cluster: KubeCluster, name: string, source?: string) =>
  derivedSlices(cluster, name, source === undefined ? {} : { source });

const endpoint = (cluster: KubeCluster, name: string, source: string) =>
  until(`${cluster.name} has a way to ${name} of ${source}`, 8_000, () => wayTo(cluster, name, { source }));

const gone = (cluster: KubeCluster, name: string): Promise<true> =>
  until(`${cluster.name} has no ${name}`, 8_000, async () =>
    (await cluster.api.get(IMPORTS, "shop", name)) === undefined ? true : undefined,
  );

/** Exported by east first, and then by west with another number for the same port. */
async function clash(name: string): Promise<void> {
  await serve(east, name, { ports: [{ name: "http", port: 80 }] });
  await exportIt(east, name);
  await condition(east, name, "Ready", "True");
  await serve(west, name, { ports: [{ name: "http", port: 8080 }] });
  await exportIt(west, name);
}

const specOf = (made: KubeObject) =>
  made.spec as { [field: string]: unknown; ports: { name: string; port: number }[]; ips?: string[] };

describe("MCS conformance, required", () => {
  it("an unexported service is inaccessible", async () => {
    await serve(east, "hidden");
    await serve(east, "shown");
    await exportIt(east, "shown");
    await imported(west, "shown");
    expect(await west.api.get(IMPORTS, "shop", "hidden")).toBeUndefined();
    expect(await slicesOf(west, "hidden")).toEqual([]);
  });

  it("a ServiceImport exists only while at least one cluster exports", async () => {
    await serve(east, "shared");
    await serve(west, "shared");
    await Promise.all([exportIt(east, "shared"), exportIt(west, "shared")]);
    const both = (made: KubeObject) =>
      ((made.status as { clusters?: unknown[] } | undefined)?.clusters ?? []).length === 2;
    await Promise.all([imported(east, "shared", both), imported(west, "shared", both)]);
    await east.api.remove(EXPORTS, "shop", "shared");
    await imported(west, "shared", (made) => !both(made));
    await west.api.remove(EXPORTS, "shop", "shared");
    await Promise.all([gone(east, "shared"), gone(west, "shared")]);
  });

  it("exporting a ClusterIP service makes a ServiceImport of type ClusterSetIP, which un-exporting removes", async () => {
    await serve(east, "plain");
    await exportIt(east, "plain");
    for (const cluster of [east, west])
      expect(specOf(await imported(cluster, "plain"))["type"]).toBe("ClusterSetIP");
    await east.api.remove(EXPORTS, "shop", "plain");
    await Promise.all([gone(east, "plain"), gone(west, "plain")]);
  });

  it("the SessionAffinity of a ServiceImport matches the exported service", async () => {
    const spec = { sessionAffinity: "ClientIP", sessionAffinityConfig: { clientIP: { timeoutSeconds: 10 } } };
    await serve(east, "sticky", { spec });
    await exportIt(east, "sticky");
    expect(specOf(await imported(west, "sticky"))).toMatchObject(spec);
  });

  it("the InternalTrafficPolicy of a ServiceImport matches the exported service", async () => {
    await serve(east, "local", { spec: { internalTrafficPolicy: "Local" } });
    await exportIt(east, "local");
    expect(specOf(await imported(west, "local"))["internalTrafficPolicy"]).toBe("Local");
  });

  it("the TrafficDistribution of a ServiceImport matches the exported service", async () => {
    await serve(east, "close", { spec: { trafficDistribution: "PreferClose" } });
    await exportIt(east, "close");
    expect(specOf(await imported(west, "close"))["trafficDistribution"]).toBe("PreferClose");
  });

  it("an IP is assigned for each IP family", async () => {
    await serve(east, "addressed");
    await exportIt(east, "addressed");
    const made = await imported(west, "addressed", (each) => specOf(each).ips !== undefined);
    expect(specOf(made).ips).toHaveLength(1);
    expect(specOf(made)["ipFamilies"]).toEqual(["IPv4"]);
  });

  it("the ports of a ServiceImport match the exported service", async () => {
    const ports = [
      { name: "http", port: 80, appProtocol: "http" },
      { name: "admin", port: 9090 },
    ];
    await serve(east, "ported", { ports });
    await exportIt(east, "ported");
    expect(specOf(await imported(west, "ported")).ports).toMatchObject(ports);
  });

  it("with two exporters the ports are the union, and a conflict is told", async () => {
    await serve(east, "union", {
      ports: [
        { name: "http", port: 80 },
        { name: "east", port: 81 },
      ],
    });
    await exportIt(east, "union");
    await condition(east, "union", "Ready", "True");
    await serve(west, "union", {
      ports: [
        { name: "http", port: 80 },
        { name: "west", port: 82 },
      ],
    });
    await exportIt(west, "union");
    const three = (made: KubeObject) => specOf(made).ports.length === 3;
    for (const cluster of [east, west])
      expect(specOf(await imported(cluster, "union", three)).ports.map(({ name }) => name)).toEqual([
        "http",
        "east",
        "west",
      ]);
    expect((await condition(east, "union", "Conflict", "True")).reason).toBe("PortConflict");
  });

  it("conflicting ports are resolved by the oldest export, and each export tells of the conflict", async () => {
    await clash("clash");
    for (const cluster of [east, west]) {
      expect((await condition(cluster, "clash", "Conflict", "True")).reason).toBe("PortConflict");
      expect(specOf(await imported(cluster, "clash")).ports).toMatchObject([{ name: "http", port: 80 }]);
    }
  });

  it("re-creating the oldest export does not flip the winner", async () => {
    await clash("again");
    await condition(west, "again", "Conflict", "True");
    await east.api.remove(EXPORTS, "shop", "again");
    await imported(west, "again", (made) => specOf(made).ports[0]?.port === 8080);
    await exportIt(east, "again");
    await imported(west, "again", (made) => specOf(made).ports[0]?.port === 80);
  });

  it("exporting a headless service makes a ServiceImport of type Headless", async () => {
    await serve(east, "headless", { spec: { clusterIP: "None" } });
    await exportIt(east, "headless");
    expect(specOf(await imported(west, "headless"))["type"]).toBe("Headless");
  });

  it("no ClusterSet IP is assigned for a headless service", async () => {
    await endpoint(west, "headless", "east");
    expect(specOf(await imported(west, "headless")).ips).toBeUndefined();
  });

  it("an ExternalName service is not exported: Valid is False", async () => {
    await east.api.put(SERVICES, {
      metadata: { namespace: "shop", name: "outside" },
      spec: { type: "ExternalName", externalName: "example.com" },
    });
    await exportIt(east, "outside");
    expect((await condition(east, "outside", "Valid", "False")).reason).toBe("InvalidServiceType");
    expect(await west.api.get(IMPORTS, "shop", "outside")).toBeUndefined();
  });

  it("conflicting headlessness is resolved by the oldest export, with a conflict", async () => {
    await serve(east, "mixed");
    await exportIt(east, "mixed");
    await condition(east, "mixed", "Ready", "True");
    await serve(west, "mixed", { spec: { clusterIP: "None" } });
    await exportIt(west, "mixed");
    expect((await condition(west, "mixed", "Conflict", "True")).reason).toContain("TypeConflict");
    expect(specOf(await imported(west, "mixed"))["type"]).toBe("ClusterSetIP");
  });
});

describe("MCS conformance, optional", () => {
  it("a service exported from one of two clusters is served by that one only", async () => {
    await serve(east, "single");
    await serve(west, "single");
    await exportIt(east, "single");
    expect(await reach(west, "single", { source: "east" })).toContain("single of east");
    expect(await slicesOf(west, "single", "west")).toEqual([]);
  });

  it("same port name, different numbers: routed to endpoints that really have the port (StrictPortConflict)", async () => {
    await clash("numbers");
    await condition(west, "numbers", "Conflict", "True");
    await endpoint(west, "numbers", "east");
    const [won] = await slicesOf(west, "numbers", "east");
    expect(won?.ports).toHaveLength(1);
    expect(await slicesOf(west, "numbers", "west")).toEqual([]);
  });

  it("different port names, same number: routed to endpoints that really have the port (StrictPortConflict)", async () => {
    await serve(east, "named", { ports: [{ name: "one", port: 80 }] });
    await exportIt(east, "named");
    await condition(east, "named", "Ready", "True");
    await serve(west, "named", { ports: [{ name: "two", port: 80 }] });
    await exportIt(west, "named");
    await condition(west, "named", "Conflict", "True");
    expect(specOf(await imported(west, "named")).ports).toMatchObject([{ name: "one", port: 80 }]);
    expect(await slicesOf(west, "named", "west")).toEqual([]);
  });

  it("EndpointSlices carry the MCS labels, are managed by us, and go when the export goes", async () => {
    await serve(east, "sliced");
    await exportIt(east, "sliced");
    await endpoint(west, "sliced", "east");
    const [made] = await slicesOf(west, "sliced", "east");
    expect(made?.metadata.labels).toMatchObject({ "endpointslice.kubernetes.io/managed-by": "isthmus.dev" });
    expect(made?.metadata.ownerReferences).toMatchObject([{ kind: "ServiceImport", name: "sliced" }]);
    await east.api.remove(EXPORTS, "shop", "sliced");
    await until("its slices are gone", 8_000, async () =>
      (await slicesOf(west, "sliced")).length === 0 ? true : undefined,
    );
  });

  it("only declared labels and annotations propagate", async () => {
    await serve(east, "labelled", { labels: { secret: "yes" } });
    await exportIt(east, "labelled", {
      exportedLabels: { team: "cart" },
      exportedAnnotations: { docs: "here" },
    });
    const { metadata } = await imported(west, "labelled");
    expect(metadata.labels).toMatchObject({ team: "cart" });
    expect(metadata.annotations).toMatchObject({ docs: "here" });
    expect(metadata.labels?.["secret"]).toBeUndefined();
  });

  it("conflicting labels and annotations are resolved by the oldest export, with a conflict", async () => {
    await serve(west, "labelled");
    await exportIt(west, "labelled", {
      exportedLabels: { team: "other" },
      exportedAnnotations: { docs: "there" },
    });
    expect((await condition(west, "labelled", "Conflict", "True")).reason).toBe(
      "LabelsConflict,AnnotationsConflict",
    );
    expect((await imported(west, "labelled")).metadata.labels).toMatchObject({ team: "cart" });
  });
});

describe("MCS conformance, optional: DNS", () => {
  const resolver = new Resolver();
  const nameOf = (name: string) => `${name}.shop.svc.clusterset.local`;
  /** Until the gateway's watch has seen what the test has. */
  const resolved = <T>(what: string, ask: () => Promise<T>): Promise<T> =>
    until(`${what} resolves`, 8_000, () => ask().catch(() => undefined));

  beforeAll(async () => {
    const log = createLogger(() => {}, Date.now, "error", {});
    const server = await openDnsServer({ host: "127.0.0.1", port: 0 }, west.source.imported, log);
    scene.servers.push(server);
    resolver.setServers([formatAddress(server.address)]);
  });

  it("A of a ClusterIP service is the ClusterSet IP", async () => {
    const made = await imported(west, "single", (each) => specOf(each).ips !== undefined);
    expect(await resolved("single", () => resolver.resolve4(nameOf("single")))).toEqual(specOf(made).ips);
  });

  it("SRV of a ClusterIP service names it and the port of the import", async () => {
    const found = await resolved("the port", () => resolver.resolveSrv(`_http._tcp.${nameOf("single")}`));
    expect(found).toMatchObject([{ name: nameOf("single"), port: 80 }]);
  });

  it("a service exported from one of two clusters resolves in both, an unexported one in none", async () => {
    await expect(resolver.resolve4(nameOf("hidden"))).rejects.toMatchObject({ code: "ENOTFOUND" });
    await expect(resolver.resolve4(`east.${nameOf("single")}`)).rejects.toMatchObject({ code: "ENOTFOUND" });
  });

  it("cluster.local stays with the cluster's own server", async () => {
    await expect(resolver.resolve4("single.shop.svc.cluster.local")).rejects.toMatchObject({
      code: "EREFUSED",
    });
  });

  it("a headless service resolves to where its endpoints are reached", async () => {
    const { address } = await endpoint(west, "headless", "east");
    expect(await resolved("headless", () => resolver.resolve4(nameOf("headless")))).toEqual([address]);
  });

  it("SRV of a headless service names each endpoint with its port, and that name resolves", async () => {
    const to = await endpoint(west, "headless", "east");
    const found = await resolved("its endpoints", () =>
      resolver.resolveSrv(`_http._tcp.${nameOf("headless")}`),
    );
    const name = `${to.address.replaceAll(".", "-")}.east.${nameOf("headless")}`;
    expect(found).toMatchObject([{ name, port: to.port }]);
    expect(await resolver.resolve4(name)).toEqual([to.address]);
  });
});
