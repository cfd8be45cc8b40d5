import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createFakeRegistry } from "../../test/fakes/fake-registry.ts";
import { createManualClock, eventually } from "../../test/fakes/manual-clock.ts";
import { createMemoryLog } from "../../test/fakes/memory-log.ts";
import { createTestFederation, unwrap } from "../../test/fakes/pki.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { type DiscoveryOptions, openDiscovery, type SelfReport } from "./discovery.ts";
import { joinCluster } from "./membership.ts";

const tempDir = useTempDirs();

const SELF: SelfReport = {
  listeners: [],
  tunnels: [],
  advertise: "127.0.0.1:15008",
  admin: "127.0.0.1:9901",
};

function services(port: number): string {
  return [
    "apiVersion: isthmus.dev/v1alpha1",
    "kind: StaticCluster",
    "metadata: { name: east }",
    "spec:",
    "  workloads:",
    "    - namespace: shop",
    "      name: cart",
    `      services: [{ name: cart, port: ${port}, protocol: http, endpoints: ["127.0.0.1:9003"] }]`,
    "",
  ].join("\n");
}

async function scene() {
  const clock = createManualClock();
  const federation = createTestFederation("demo.mesh", ["east", "west"], clock.now());
  const registry = createFakeRegistry(federation, "east", clock);
  const stateDir = join(tempDir(), "east");
  const token = await registry.joinToken("east");
  unwrap(await joinCluster({ registryUrl: registry.url, token, stateDir, clock, fetch: registry.fetch }));
  const servicesFile = join(stateDir, "services.yaml");
  writeFileSync(servicesFile, services(80));
  const log = createMemoryLog();
  const options: DiscoveryOptions = {
    role: "gateway",
    member: "gateway-1",
    stateDir,
    servicesFile,
    version: "0.1.0",
    log,
    clock,
    random: () => 0.5,
    fetch: registry.fetch,
  };
  const open = (change: Partial<DiscoveryOptions> = {}) => openDiscovery({ ...options, ...change });
  return { clock, registry, servicesFile, options, open };
}

describe("openDiscovery", () => {
  it("brings a joined cluster everything it works with", async () => {
    const { open, registry, clock } = await scene();
    registry.publish();
    const discovery = unwrap(await open());
    await clock.advanceAsync(0);
    expect(discovery.snapshot.current?.revision).toBe(1);
    expect(discovery.services.topology.current.offered?.map(({ name }) => name)).toEqual(["cart"]);
    expect(discovery.credentials.credential.current.spiffeId.uri).toBe(
      "spiffe://east.demo.mesh/ns/isthmus-system/sa/gateway",
    );
    expect(unwrap(await discovery.addresses.allocate([]))).toEqual([]);
    discovery.stop();
  });

  it("tells the registry what it applied and what the cluster offers, and then beats", async () => {
    const { open, registry, clock } = await scene();
    registry.publish();
    const discovery = unwrap(await open());
    await clock.advanceAsync(0);
    const reporting = discovery.startReporting(() => SELF);
    await clock.advanceAsync(20);
    expect(registry.reports).toEqual([
      { role: "gateway", version: "0.1.0", appliedRevision: 1, state: "applied", ...SELF },
    ]);
    expect(registry.services).toEqual([
      [{ namespace: "shop", name: "cart", ports: [{ port: 80, protocol: "http" }] }],
    ]);
    registry.publish();
    await clock.advanceAsync(20);
    expect(registry.reports[1]).toMatchObject({ appliedRevision: 2 });
    reporting.changed();
    await clock.advanceAsync(20);
    expect(registry.reports).toHaveLength(3);
    await clock.advanceAsync(10_000);
    expect(registry.reports).toHaveLength(4);
    discovery.stop();
  });

  it("tells the registry of changed services, and again when it returns", async () => {
    const { open, registry, clock, servicesFile } = await scene();
    registry.publish();
    const discovery = unwrap(await open());
    discovery.startReporting(() => SELF);
    await clock.advanceAsync(20);
    writeFileSync(servicesFile, services(81));
    // A reading under way as the hands turn sets its next one only afterwards.
    await eventually(() => {
      clock.advance(20);
      return discovery.services.topology.current.offered?.[0]?.ports[0]?.port === 81;
    });
    await clock.advanceAsync(20);
    expect(registry.services.map(([service]) => service?.ports[0]?.port)).toEqual([80, 81]);
    registry.mood = "down";
    registry.publish();
    await clock.advanceAsync(30_000);
    registry.mood = "up";
    const reported = registry.reports.length;
    await clock.advanceAsync(1000);
    expect(registry.services).toHaveLength(3);
    expect(registry.reports.slice(reported)[0]).toMatchObject({ appliedRevision: expect.any(Number) });
    expect(registry.reports.at(-1)).toMatchObject({ appliedRevision: 2 });
    discovery.stop();
  });

  it("reports a refused snapshot with its code, and that it is over", async () => {
    const { open, registry, clock } = await scene();
    registry.publish({ revision: 5 });
    const discovery = unwrap(await open());
    discovery.startReporting(() => SELF);
    await clock.advanceAsync(20);
    registry.nextSnapshot = await registry.sign({ ...discovery.snapshot.current, revision: 3 });
    registry.publish({ revision: 5 });
    await clock.advanceAsync(20);
    expect(registry.reports.at(-1)).toMatchObject({
      appliedRevision: 5,
      state: "refused",
      code: "ISTH-1052",
    });
    await clock.advanceAsync(1000);
    expect(registry.reports.at(-1)).toMatchObject({ appliedRevision: 5, state: "applied" });
    expect(registry.reports.at(-1)).not.toHaveProperty("code");
    discovery.stop();
  });

  it("lets an agent report neither an address for others nor services", async () => {
    const { open, registry, clock } = await scene();
    const discovery = unwrap(await open({ role: "agent", member: "agent-1" }));
    discovery.startReporting(() => SELF);
    await clock.advanceAsync(20);
    expect(registry.reports).toHaveLength(1);
    expect(registry.reports[0]).not.toHaveProperty("advertise");
    expect(registry.services).toEqual([]);
    expect(registry.requests).toContain("PUT /v1/clusters/east/members/agent-1");
    discovery.stop();
  });

  it("opens while the registry is down, and finds it at another URL when told so", async () => {
    const { open, registry, clock } = await scene();
    registry.mood = "down";
    const discovery = unwrap(await open({ registry: "http://elsewhere.test" }));
    await clock.advanceAsync(0);
    expect(discovery.snapshot.current).toBeUndefined();
    expect(discovery.status.current).toMatchObject({
      connected: false,
      lastError: { code: "ISTH-6005", detail: "http://elsewhere.test: connect ECONNREFUSED" },
    });
    discovery.stop();
  });

  it("does not open with a services file that is wrong, and brings the places", async () => {
    const { open, servicesFile } = await scene();
    writeFileSync(servicesFile, services(80).replace("port: 80", "prt: 80"));
    expect(await open()).toMatchObject({
      ok: false,
      error: {
        name: "file_invalid",
        issues: [
          { line: 8, path: "spec.workloads[0].services[0].port" },
          { line: 8, path: "spec.workloads[0].services[0].prt", suggestion: "port" },
        ],
      },
    });
  });

  it("does not open where nobody has joined", async () => {
    const { open } = await scene();
    expect(await open({ stateDir: tempDir() })).toMatchObject({
      ok: false,
      error: { name: "state_unusable" },
    });
  });

  it("works without a services file, and then tells the registry of no services", async () => {
    const { options, registry, clock } = await scene();
    const { servicesFile: _, ...rest } = options;
    const discovery = unwrap(await openDiscovery(rest));
    discovery.startReporting(() => SELF);
    await clock.advanceAsync(20);
    expect(discovery.services.topology.current.offered).toBeUndefined();
    expect(registry.services).toEqual([]);
    discovery.stop();
  });

  it("leaves nothing behind when stopped", async () => {
    const { open, registry, clock } = await scene();
    registry.publish();
    const discovery = unwrap(await open());
    discovery.startReporting(() => SELF);
    await clock.advanceAsync(1000);
    discovery.stop();
    await eventually(() => clock.pending === 0);
  });
});
