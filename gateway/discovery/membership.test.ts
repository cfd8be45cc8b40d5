import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createFakeRegistry } from "../../test/fakes/fake-registry.ts";
import { createManualClock } from "../../test/fakes/manual-clock.ts";
import { createTestFederation, unwrap } from "../../test/fakes/pki.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { hasJoined, readClusterState } from "./cluster-state.ts";
import { createMemberClient } from "./member-client.ts";
import { type JoinOptions, joinCluster, renewClusterCa, shouldRenewCa } from "./membership.ts";

const tempDir = useTempDirs();
const DAY_MS = 24 * 3_600_000;

function scene() {
  const clock = createManualClock();
  const federation = createTestFederation("demo.mesh", ["east", "west"], clock.now());
  const registry = createFakeRegistry(federation, "east", clock);
  const stateDir = join(tempDir(), "east");
  const join_ = async (change: Partial<JoinOptions> = {}) =>
    joinCluster({
      registryUrl: `${registry.url}/`,
      token: change.token ?? (await registry.joinToken("east")),
      stateDir,
      clock,
      fetch: registry.fetch,
      ...change,
    });
  return { clock, federation, registry, stateDir, join: join_ };
}

describe("joinCluster", () => {
  it("redeems the token, and everything it needs later is in the directory, for nobody else to read", async () => {
    const { join: joinNow, stateDir } = scene();
    const joined = unwrap(await joinNow());
    expect(unwrap(readClusterState(stateDir))).toEqual(joined);
    expect(joined).toMatchObject({
      federation: "demo.mesh",
      cluster: "east",
      trustDomain: "east.demo.mesh",
      registry: "http://registry.test",
    });
    expect(readdirSync(stateDir).sort()).toEqual(["bundles.json", "ca.crt", "ca.key", "cluster.json"]);
    for (const name of readdirSync(stateDir)) expect(statSync(join(stateDir, name)).mode & 0o777).toBe(0o600);
    expect(statSync(stateDir).mode & 0o777).toBe(0o700);
  });

  it("sends a request for a certificate, never the key", async () => {
    const { join: joinNow, registry, stateDir } = scene();
    const bodies: string[] = [];
    const recording: typeof fetch = (input, init) => {
      if (typeof init?.body === "string") bodies.push(init.body);
      return registry.fetch(input, init);
    };
    unwrap(await joinNow({ fetch: recording }));
    expect(bodies).toHaveLength(1);
    expect(bodies[0]).toContain("BEGIN CERTIFICATE REQUEST");
    expect(bodies[0]).not.toContain("PRIVATE");
    const [, secret] = readFileSync(join(stateDir, "ca.key"), "utf8").split("\n");
    expect(bodies[0]).not.toContain(secret);
  });

  it("leaves a joined directory alone unless forced, and asks the registry nothing", async () => {
    const { join: joinNow, registry, stateDir } = scene();
    const first = unwrap(await joinNow());
    const asked = registry.requests.length;
    expect(await joinNow()).toMatchObject({ ok: false, error: { name: "state_unusable" } });
    expect(registry.requests).toHaveLength(asked);
    const second = unwrap(await joinNow({ force: true }));
    expect(second.ca.certificatePem).not.toBe(first.ca.certificatePem);
    expect(unwrap(readClusterState(stateDir))).toEqual(second);
  });

  it("repeats the same key after an answer that was lost", async () => {
    const { join: joinNow, registry, stateDir } = scene();
    const losing: typeof fetch = async (input, init) => {
      const answer = await registry.fetch(input, init);
      if (init?.method === "POST") throw new TypeError("fetch failed");
      return answer;
    };
    expect(await joinNow({ fetch: losing })).toMatchObject({
      ok: false,
      error: { name: "registry_unreachable" },
    });
    expect(hasJoined(stateDir)).toBe(false);
    const key = readFileSync(join(stateDir, "join.key"), "utf8");
    unwrap(await joinNow());
    expect(readFileSync(join(stateDir, "ca.key"), "utf8")).toBe(key);
    expect(existsSync(join(stateDir, "join.key"))).toBe(false);
  });

  it("does not spend the token while the clocks differ", async () => {
    const { join: joinNow, registry } = scene();
    registry.skewMs = -3_600_000;
    expect(await joinNow()).toEqual({
      ok: false,
      error: {
        name: "clock_skew",
        detail: "this machine's clock is 3600 s ahead of the registry's; nothing was changed",
      },
    });
    expect(registry.requests).toEqual(["GET /v1/federation"]);
  });

  it("does not spend the token at another federation's registry", async () => {
    const { join: joinNow, registry, clock } = scene();
    const other = createFakeRegistry(
      createTestFederation("other.mesh", ["east"], clock.now()),
      "east",
      clock,
    );
    expect(await joinNow({ fetch: other.fetch })).toMatchObject({
      ok: false,
      error: { name: "join_token_invalid" },
    });
    expect(other.requests).toEqual(["GET /v1/federation"]);
    expect(registry.requests).toEqual([]);
  });

  it("does not spend the token when the answer could not be kept", async () => {
    const { join: joinNow, registry, stateDir } = scene();
    writeFileSync(stateDir, "a file where the directory should be");
    expect(await joinNow()).toMatchObject({ ok: false, error: { name: "state_unusable" } });
    expect(registry.requests).toEqual([]);
  });

  it("refuses a token that is none before it asks anybody", async () => {
    const { join: joinNow, registry } = scene();
    expect(await joinNow({ token: "hello" })).toMatchObject({
      ok: false,
      error: { name: "join_token_invalid" },
    });
    expect(registry.requests).toEqual([]);
  });

  it.each(["down", "garbage", "unavailable"] as const)(
    "changes nothing when the registry is %s",
    async (mood) => {
      const { join: joinNow, registry, stateDir } = scene();
      registry.mood = mood;
      expect(await joinNow()).toMatchObject({ ok: false, error: { name: "registry_unreachable" } });
      expect(hasJoined(stateDir)).toBe(false);
    },
  );

  it("takes no certificate that peers would refuse", async () => {
    const { join: joinNow, federation, registry, clock, stateDir } = scene();
    const stranger = createTestFederation("demo.mesh", ["east", "west"], clock.now());
    Object.assign(federation, { root: stranger.root });
    expect(await joinNow()).toMatchObject({
      ok: false,
      error: { name: "registry_unreachable", detail: expect.stringContaining("cannot be used") },
    });
    expect(registry.requests).toContain("POST /v1/join");
    expect(hasJoined(stateDir)).toBe(false);
  });
});

describe("renewClusterCa", () => {
  async function joined() {
    const s = scene();
    const state = unwrap(await s.join());
    const credential = s.federation.system("east", "gateway");
    const client = createMemberClient({
      registry: s.registry.url,
      credential: () => credential,
      clock: s.clock,
      fetch: s.registry.fetch,
    });
    return {
      ...s,
      state,
      renew: () => renewClusterCa({ stateDir: s.stateDir, state, client, clock: s.clock }),
    };
  }

  it("gets a new certificate for the same key", async () => {
    const { renew, state, stateDir, registry } = await joined();
    registry.caLifetimeMs = 2 * DAY_MS;
    const renewed = unwrap(await renew());
    expect(renewed.ca.certificatePem).not.toBe(state.ca.certificatePem);
    expect(renewed.ca.notAfterMs).toBeGreaterThan(state.ca.notAfterMs);
    expect(renewed.ca.privateKey.equals(state.ca.privateKey)).toBe(true);
    expect(unwrap(readClusterState(stateDir))).toEqual(renewed);
  });

  it("keeps the old certificate when the new one would be refused by peers", async () => {
    const { renew, state, stateDir, federation, clock } = await joined();
    Object.assign(federation, { root: createTestFederation("demo.mesh", ["east"], clock.now()).root });
    expect((await renew()).ok).toBe(false);
    expect(unwrap(readClusterState(stateDir))).toEqual(state);
  });
});

describe("shouldRenewCa", () => {
  const ca = { notBeforeMs: 0, notAfterMs: 90 * DAY_MS };
  it.each([
    [59 * DAY_MS, 0, false],
    [60 * DAY_MS, 0, true],
    [60 * DAY_MS, 1, false],
    [65 * DAY_MS, 1, true],
    [100 * DAY_MS, 1, true],
  ])("after %i ms with jitter %i: %s", (now, jitter, due) => {
    expect(shouldRenewCa(ca, now, jitter)).toBe(due);
  });
});

describe("readClusterState", () => {
  async function broken(damage: (stateDir: string) => void): Promise<string> {
    const { join: joinNow, stateDir } = scene();
    unwrap(await joinNow());
    damage(stateDir);
    const state = readClusterState(stateDir);
    expect(state).toMatchObject({ ok: false, error: { name: "state_unusable" } });
    return state.ok ? "" : state.error.detail;
  }
  const half = (name: string) => (stateDir: string) => {
    const path = join(stateDir, name);
    const text = readFileSync(path, "utf8");
    writeFileSync(path, text.slice(0, text.length / 2));
  };

  it("says how to join where nobody has joined", () => {
    const stateDir = tempDir();
    expect(readClusterState(stateDir)).toEqual({
      ok: false,
      error: {
        name: "state_unusable",
        detail: `${stateDir} holds no joined cluster; join first: isthmus cluster join`,
      },
    });
  });

  it.each([
    ["cluster.json", /cluster\.json is not whole JSON/],
    ["ca.key", /ca\.key and .*ca\.crt: .*private key/],
    ["ca.crt", /ca\.crt: /],
    ["bundles.json", /bundles\.json .*not JSON/],
  ])("names %s when it is half written", async (name, expected) => {
    expect(await broken(half(name))).toMatch(expected);
  });

  it("names fields of cluster.json that are wrong", async () => {
    const detail = await broken((dir) => {
      const path = join(dir, "cluster.json");
      const facts = JSON.parse(readFileSync(path, "utf8"));
      writeFileSync(path, JSON.stringify({ ...facts, registry: "nowhere", snapshotKeys: {} }));
    });
    expect(detail).toMatch(/registry .*snapshotKeys\.keys is required/);
  });

  it("refuses a key that does not belong to the certificate", async () => {
    const other = scene();
    unwrap(await other.join());
    const detail = await broken((dir) => {
      writeFileSync(join(dir, "ca.key"), readFileSync(join(other.stateDir, "ca.key")));
    });
    expect(detail).toMatch(/ca\.key and .*ca\.crt: /);
  });

  it("refuses a key that every user of the machine can read", async () => {
    expect(await broken((dir) => chmodSync(join(dir, "ca.key"), 0o644))).toMatch(/too open: chmod 600/);
  });

  it("refuses a CA of another trust domain", async () => {
    const other = scene();
    const { ca } = other.federation.cluster("west");
    const { privateKeyToPem } = await import("../../federation/trust/index.ts");
    const detail = await broken((dir) => {
      writeFileSync(join(dir, "ca.key"), privateKeyToPem(ca.privateKey));
      writeFileSync(join(dir, "ca.crt"), ca.certificatePem);
    });
    expect(detail).toMatch(/is the CA of west\.demo\.mesh, but the directory belongs to east\.demo\.mesh/);
  });

  it("says that a join did not finish", async () => {
    const { rmSync } = await import("node:fs");
    expect(await broken((dir) => rmSync(join(dir, "ca.crt")))).toMatch(
      /ca\.crt is missing: the join did not finish/,
    );
  });

  it("tells a directory in the place of a file", async () => {
    const stateDir = tempDir();
    mkdirSync(join(stateDir, "cluster.json"));
    expect(readClusterState(stateDir)).toMatchObject({
      ok: false,
      error: { detail: expect.stringContaining("it is a directory") },
    });
  });
});
