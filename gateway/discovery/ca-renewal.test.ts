import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Problem, PROBLEMS, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import { createClusterKey, createCsr } from "../../federation/trust/index.ts";
import { createFakeRegistry } from "../../test/fakes/fake-registry.ts";
import { createManualClock, eventually, settle } from "../../test/fakes/manual-clock.ts";
import { createMemoryLog } from "../../test/fakes/memory-log.ts";
import { createTestFederation, unwrap } from "../../test/fakes/pki.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { openCertifiedSource, openClusterStateSource } from "./ca-renewal.ts";
import { createMemberClient } from "./member-client.ts";
import { joinCluster, joinWithCsr } from "./membership.ts";

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
  return { clock, federation, registry, initial, log, client, open, turn };
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

describe("openCertifiedSource", () => {
  /** A cluster whose CA's key is elsewhere: here are its requests, made with one key and with the next. */
  async function certified() {
    const { clock, client, registry, log, turn, federation } = await scene();
    const { trustDomain } = federation.cluster("east");
    const request = () => createCsr({ privateKey: createClusterKey(), trustDomain });
    const [first, next] = [request(), request()];
    const stateDir = join(tempDir(), "east");
    const token = await registry.joinToken("east");
    const options = { registryUrl: registry.url, token, stateDir, clock, fetch: registry.fetch };
    const initial = unwrap(await joinWithCsr({ ...options, csrPem: first }));
    const mounted: { file: Result<string, Problem> } = { file: ok(first) };
    const open = (file = () => mounted.file) => {
      const source = openCertifiedSource({ stateDir, initial, clock, random: () => 0, log }, file);
      source.startRenewing(client);
      return source;
    };
    const keyOf = ({ state }: ReturnType<typeof open>) => state.current.ca.publicKeyInfo.toString("hex");
    return { clock, registry, log, turn, initial, first, next, mounted, open, keyOf, stateDir };
  }

  it("has the same request certified again when two thirds of the CA's life are gone", async () => {
    const { open, turn, registry, initial, keyOf, stateDir } = await certified();
    const source = open();
    await turn(5.9 * HOUR_MS);
    expect(renewals(registry.requests)).toBe(0);
    await turn(0.2 * HOUR_MS);
    await eventually(() => source.state.current !== initial);
    expect(source.state.current.ca.notAfterMs).toBeGreaterThan(initial.ca.notAfterMs + 5 * HOUR_MS);
    expect(keyOf(source)).toBe(initial.ca.publicKeyInfo.toString("hex"));
    expect(readdirSync(stateDir)).not.toContain("ca.key");
    source.stop();
  });

  it("has a request with another key certified within seconds, once, and other gateways do not turn it back", async () => {
    const { open, turn, registry, mounted, first, next, keyOf } = await certified();
    const late = { file: ok(first) };
    const [sooner, later] = [open(), open(() => late.file)];
    await turn(HOUR_MS);
    const before = keyOf(sooner);
    mounted.file = ok(next);
    while (keyOf(sooner) === before || keyOf(later) === before) await turn(5_000);
    await turn(HOUR_MS / 2);
    expect(renewals(registry.requests)).toBe(1);
    late.file = ok(next);
    await turn(HOUR_MS / 2);
    expect(renewals(registry.requests)).toBe(1);
    expect(keyOf(later)).toBe(keyOf(sooner));
    for (const source of [sooner, later]) source.stop();
  });

  it("says once why a request cannot be used, asks nobody to certify it, and keeps the CA", async () => {
    const { open, turn, registry, mounted, log, initial, first } = await certified();
    const source = open();
    mounted.file = ok("-----BEGIN CERTIFICATE REQUEST-----");
    const told = () => log.of("cluster_ca_not_renewed").map(({ code }) => code);
    while (told().length < 1) await turn(5_000);
    await turn(HOUR_MS / 4);
    mounted.file = err(problem("file_unreadable", "ca.csr is gone"));
    while (told().length < 2) await turn(5_000);
    await turn(HOUR_MS / 4);
    expect(told()).toEqual([PROBLEMS.csr_invalid.code, PROBLEMS.file_unreadable.code]);
    expect(renewals(registry.requests)).toBe(0);
    mounted.file = ok(first);
    await turn(HOUR_MS / 4);
    expect(source.state.current).toBe(initial);
    source.stop();
  });
});
