import { describe, expect, it } from "vitest";
import { type SpiffeId, workloadSpiffeId } from "../../federation/model/spiffe-id.ts";
import { verifyCallerToken, verifyChain } from "../../federation/trust/index.ts";
import { createManualClock } from "../../test/fakes/manual-clock.ts";
import { createMemoryLog } from "../../test/fakes/memory-log.ts";
import { createTestCluster, createTestFederation, type TestFederation } from "../../test/fakes/pki.ts";
import { createWatch } from "../dataplane/lifecycle/watch.ts";
import { createCredentialSource } from "./credential-source.ts";

const HOUR_MS = 3_600_000;
const AUDIENCE = "west.demo.mesh/shop/cart";

function scene(options: { readonly svidTtlMs?: number; readonly bundles?: TestFederation["bundles"] } = {}) {
  const clock = createManualClock();
  const federation = createTestFederation("demo.mesh", ["east"], clock.now());
  const { ca, trustDomain } = federation.cluster("east");
  const state = createWatch({ ca });
  const log = createMemoryLog();
  const id = (name: string): SpiffeId => workloadSpiffeId(trustDomain, "shop", name);
  const source = createCredentialSource({
    self: workloadSpiffeId(trustDomain, "isthmus-system", "gateway"),
    state,
    bundles: () => options.bundles ?? federation.bundles,
    clock,
    random: () => 0.5,
    log,
    ...(options.svidTtlMs === undefined ? {} : { svidTtlMs: options.svidTtlMs }),
  });
  return { clock, federation, state, log, source, web: id("web"), id };
}

describe("createCredentialSource", () => {
  it("has an identity that peers accept from the beginning", () => {
    const { source, federation, clock } = scene();
    expect(verifyChain(source.credential.current.chainDer, federation.index, clock.now())).toMatchObject({
      ok: true,
      value: { spiffeId: { uri: "spiffe://east.demo.mesh/ns/isthmus-system/sa/gateway" } },
    });
  });

  it("rotates its own identity at half of its life, again and again, and never lets it expire", () => {
    const { source, clock } = scene();
    const seen: number[] = [];
    const start = clock.now();
    source.credential.subscribe(() => seen.push(clock.now() - start));
    for (let minute = 0; minute < 180; minute++) {
      clock.advance(60_000);
      expect(source.credential.current.notAfterMs).toBeGreaterThan(clock.now() + HOUR_MS / 3);
    }
    expect(seen).toHaveLength(6);
    expect(seen[0]).toBeGreaterThanOrEqual(HOUR_MS / 2);
    expect(seen[0]).toBeLessThanOrEqual(HOUR_MS / 2 + 60_000);
  });

  it("keeps up with very short lives without minting for every request", () => {
    const { source, clock, web } = scene({ svidTtlMs: 4000 });
    const own = new Set([source.credential.current]);
    const workload = new Set([source.credentialFor(web)]);
    for (let tick = 0; tick < 100; tick++) {
      clock.advance(100);
      own.add(source.credential.current);
      workload.add(source.credentialFor(web));
      expect(source.credentialFor(web).notAfterMs).toBeGreaterThan(clock.now());
    }
    expect(own.size).toBe(6);
    expect(workload.size).toBe(6);
  });

  it("gives a workload one credential until it is due", () => {
    const { source, clock, web, id } = scene();
    const first = source.credentialFor(web);
    expect(first.spiffeId).toEqual(web);
    clock.advance(20 * 60_000);
    expect(source.credentialFor(web)).toBe(first);
    expect(source.credentialFor(id("batch"))).not.toBe(first);
    clock.advance(20 * 60_000);
    expect(source.credentialFor(web)).not.toBe(first);
  });

  it("mints nothing for another trust domain", () => {
    const { source, web } = scene();
    const foreign = { ...web, trustDomain: "west.demo.mesh" as SpiffeId["trustDomain"] };
    expect(() => source.credentialFor(foreign)).toThrow(TypeError);
  });

  it("caches caller tokens per workload and audience until two thirds of their life", () => {
    const { source, clock, web, id, federation } = scene();
    const token = source.callerToken(web, AUDIENCE);
    expect(
      verifyCallerToken(token, { bundles: federation.index, audience: AUDIENCE, now: clock.now() }),
    ).toMatchObject({
      ok: true,
      value: { caller: { uri: web.uri } },
    });
    clock.advance(199_000);
    expect(source.callerToken(web, AUDIENCE)).toBe(token);
    expect(source.callerToken(web, "west.demo.mesh/shop/other")).not.toBe(token);
    expect(source.callerToken(id("batch"), AUDIENCE)).not.toBe(token);
    clock.advance(2000);
    expect(source.callerToken(web, AUDIENCE)).not.toBe(token);
  });

  it("never hands out a token that has expired with its certificate", () => {
    const { source, clock, web, federation } = scene({ svidTtlMs: 4000 });
    for (let tick = 0; tick < 200; tick++) {
      clock.advance(97);
      const token = source.callerToken(web, AUDIENCE);
      const now = clock.now();
      expect(verifyCallerToken(token, { bundles: federation.index, audience: AUDIENCE, now }).ok).toBe(true);
    }
  });

  it("moves everything to a renewed CA at once", () => {
    const { source, state, federation, clock, web } = scene();
    const before = [source.credential.current, source.credentialFor(web), source.callerToken(web, AUDIENCE)];
    state.publish({ ca: createTestCluster("demo.mesh", "east", federation.root, clock.now()).ca });
    const after = [source.credential.current, source.credentialFor(web), source.callerToken(web, AUDIENCE)];
    for (const [index, value] of after.entries()) expect(value).not.toBe(before[index]);
    expect(source.credential.current.chainDer[1]).toEqual(state.current.ca.certificateDer);
  });

  it("keeps the old identity while peers would refuse the new one, and says so once", () => {
    const { source, state, log, clock } = scene();
    const good = source.credential.current;
    const stranger = createTestFederation("demo.mesh", ["east"], clock.now());
    state.publish({ ca: stranger.cluster("east").ca });
    clock.advance(40 * 60_000);
    expect(source.credential.current).toBe(good);
    expect(log.of("own_credential_unusable")).toMatchObject([{ level: "error", code: "ISTH-1002" }]);
  });

  it("leaves nothing behind when stopped", () => {
    const { source, clock } = scene();
    source.stop();
    expect(clock.pending).toBe(0);
  });
});
