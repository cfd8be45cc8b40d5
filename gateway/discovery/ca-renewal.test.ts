import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createFakeRegistry } from "../../test/fakes/fake-registry.ts";
import { createManualClock, eventually, settle } from "../../test/fakes/manual-clock.ts";
import { createMemoryLog } from "../../test/fakes/memory-log.ts";
import { createTestFederation, unwrap } from "../../test/fakes/pki.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { openClusterStateSource } from "./ca-renewal.ts";
import { createMemberClient } from "./member-client.ts";
import { joinCluster } from "./membership.ts";

const tempDir = useTempDirs();
const HOUR_MS = 3_600_000;

async function scene() {
  const clock = createManualClock();
  const federation = createTestFederation("demo.mesh", ["east"], clock.now());
  const registry = createFakeRegistry(federation, "east", clock);
  registry.caLifetimeMs = 9 * HOUR_MS;
  const stateDir = join(tempDir(), "east");
  const token = await registry.joinToken("east");
  const initial = unwrap(
    await joinCluster({ registryUrl: registry.url, token, stateDir, clock, fetch: registry.fetch }),
  );
  const log = createMemoryLog();
  const client = createMemberClient({
    registry: registry.url,
    // Lives now, whenever that is: only the CA's own life matters here.
    credential: () =>
      federation.system("east", "gateway", {
        notBeforeMs: clock.now() - 1000,
        notAfterMs: clock.now() + 60_000,
      }),
    clock,
    fetch: registry.fetch,
  });
  const open = () => openClusterStateSource({ stateDir, initial, clock, random: () => 0, log });
  /** Steps of the size of a check, with time for each to do its work. */
  const turn = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 60_000) {
      clock.advance(Math.min(left, 60_000));
      await settle(2);
    }
    await settle(100);
  };
  return { clock, registry, initial, log, client, open, turn };
}

const renewals = (requests: readonly string[]) => requests.filter((line) => line.endsWith("/renew")).length;

describe("openClusterStateSource", () => {
  it("renews when two thirds of the CA's life are gone", async () => {
    const { open, client, turn, registry, initial } = await scene();
    const source = open();
    source.startRenewing(client);
    await turn(5.9 * HOUR_MS);
    expect(renewals(registry.requests)).toBe(0);
    await turn(0.2 * HOUR_MS);
    await eventually(() => source.state.current !== initial);
    expect(renewals(registry.requests)).toBe(1);
    expect(source.state.current.ca.notAfterMs).toBeGreaterThan(initial.ca.notAfterMs + 5 * HOUR_MS);
    source.stop();
  });

  it("renews once for all processes of the cluster, and each of them learns of it", async () => {
    const { open, client, turn, registry, initial } = await scene();
    const agent = open();
    const gateways = [open(), open()];
    for (const gateway of gateways) gateway.startRenewing(client);
    const all = [agent, ...gateways];
    await turn(6.1 * HOUR_MS);
    while (all.some((source) => source.state.current === initial)) await turn(1000);
    expect(renewals(registry.requests)).toBe(1);
    expect(new Set(all.map((source) => source.state.current.ca.certificatePem)).size).toBe(1);
    for (const source of all) source.stop();
  });

  it("keeps trying while the registry is away, and says how long the CA still lives", async () => {
    const { open, client, turn, registry, log, initial } = await scene();
    const source = open();
    source.startRenewing(client);
    registry.mood = "down";
    await turn(6.1 * HOUR_MS);
    await eventually(() => log.of("cluster_ca_not_renewed").length > 0);
    expect(source.state.current).toBe(initial);
    expect(log.of("cluster_ca_not_renewed")[0]).toMatchObject({
      code: "ISTH-6005",
      notAfter: new Date(initial.ca.notAfterMs).toISOString(),
    });
    registry.mood = "up";
    await turn(120_000);
    await eventually(() => source.state.current !== initial);
    source.stop();
  });

  it("leaves nothing behind when stopped", async () => {
    const { open, clock } = await scene();
    open().stop();
    expect(clock.pending).toBe(0);
  });
});
