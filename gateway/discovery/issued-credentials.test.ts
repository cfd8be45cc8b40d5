import { createPublicKey } from "node:crypto";
import { describe, expect, it } from "vitest";
import { type Problem, problem } from "../../federation/model/problem.ts";
import { err, ok } from "../../federation/model/result.ts";
import { systemSpiffeId, type SpiffeId, workloadSpiffeId } from "../../federation/model/spiffe-id.ts";
import { parseCsr, signSvid, svidPem, verifyCallerToken, verifyChain } from "../../federation/trust/index.ts";
import { createManualClock, settle } from "../../test/fakes/manual-clock.ts";
import { createMemoryLog } from "../../test/fakes/memory-log.ts";
import { createTestFederation, unwrap } from "../../test/fakes/pki.ts";
import { createWatch } from "../dataplane/lifecycle/watch.ts";
import { type IdentityIssuer, openIssuedCredentials } from "./issued-credentials.ts";

const HOUR_MS = 3_600_000;

function world() {
  const clock = createManualClock();
  const federation = createTestFederation("demo.mesh", ["east"], clock.now());
  const { ca, trustDomain } = federation.cluster("east");
  const self = systemSpiffeId(trustDomain, "agent");
  const asked: string[] = [];
  const scripted: {
    failure?: Problem;
    underWay: number;
    most: number;
    signAs?: SpiffeId;
    undated?: boolean;
  } = {
    underWay: 0,
    most: 0,
  };
  const issuer: IdentityIssuer = {
    async issue({ csrPem, spiffeId }) {
      asked.push(spiffeId.uri);
      scripted.underWay += 1;
      scripted.most = Math.max(scripted.most, scripted.underWay);
      await Promise.resolve();
      scripted.underWay -= 1;
      if (scripted.failure !== undefined) return err(scripted.failure);
      const { publicKey } = unwrap(parseCsr(csrPem));
      const id = scripted.signAs ?? spiffeId;
      // The minute by which our own CA dates back.
      const now = clock.now() + (scripted.undated === true ? 60_000 : 0);
      return ok(svidPem(signSvid({ ca, publicKey, spiffeId: id, now, lifetimeMs: HOUR_MS })));
    },
  };
  const log = createMemoryLog();
  const waiting: string[] = [];
  const state = createWatch({ ca: { certificatePem: ca.certificatePem } });
  const open = (onDemand = false) =>
    openIssuedCredentials({
      onDemand,
      self,
      issuer,
      state,
      bundles: () => federation.bundles,
      clock,
      random: () => 0.5,
      log,
      onWaiting: ({ name }) => waiting.push(name),
    });
  const web = workloadSpiffeId(trustDomain, "shop", "web");
  const pass = async (ms: number, stepMs = 60_000): Promise<void> => {
    for (let left = ms; left > 0; left -= stepMs) {
      clock.advance(Math.min(left, stepMs));
      await settle();
    }
  };
  return { clock, federation, trustDomain, self, asked, scripted, log, waiting, state, open, web, pass };
}

const DOWN = problem("issuer_unreachable", "connection refused");

describe("identities that somebody else issues", () => {
  it("waits for its own, says why, and is ready when it has it", async () => {
    const { open, scripted, waiting, federation, clock, pass } = world();
    scripted.failure = DOWN;
    const opening = open();
    await pass(1_000, 50);
    expect(waiting).toContain("issuer_unreachable");
    delete scripted.failure;
    await pass(60_000, 1_000);
    const source = await opening;
    expect(verifyChain(source.credential.current.chainDer, federation.index, clock.now()).ok).toBe(true);
    source.stop();
  });

  it("asks for the accounts of this node, signs as them, and forgets those that left", async () => {
    const { open, web, federation, clock } = world();
    const source = await open();
    expect(source.callerToken(web, "a/b/c")).toBeUndefined();
    source.want([web]);
    await settle();
    const token = source.callerToken(web, "a/b/c") ?? "";
    const verified = verifyCallerToken(token, {
      bundles: federation.index,
      audience: "a/b/c",
      now: clock.now(),
    });
    expect(verified).toMatchObject({ ok: true, value: { caller: { uri: web.uri } } });
    expect(source.identity?.()).toMatchObject({ issuer: "answers", held: 2, missing: [] });
    source.want([]);
    expect(source.has(web)).toBe(false);
    expect(source.callerToken(web, "a/b/c")).toBeUndefined();
    source.stop();
  });

  it("rotates each at about half of its life, with a new key, and is never without one", async () => {
    const { open, web, pass, asked } = world();
    const source = await open();
    source.want([web]);
    await settle();
    const keys = new Set<string>();
    source.credential.subscribe(({ privateKey }) =>
      keys.add(createPublicKey(privateKey).export({ type: "spki", format: "pem" }) as string),
    );
    for (let turn = 0; turn < 60; turn++) {
      await pass(3 * 60_000);
      expect(source.has(web)).toBe(true);
    }
    expect(keys.size).toBeGreaterThanOrEqual(5);
    expect(keys.size).toBeLessThanOrEqual(6);
    expect(asked.length).toBeLessThanOrEqual(14);
    source.stop();
  });

  it("keeps what it has while the issuer is down, tries again with back-off, and says so", async () => {
    const { open, web, pass, scripted, asked, log } = world();
    const source = await open();
    source.want([web]);
    await settle();
    scripted.failure = DOWN;
    const before = asked.length;
    await pass(50 * 60_000, 5_000);
    expect(source.has(web)).toBe(true);
    expect(source.identity?.()).toMatchObject({ issuer: "fails", held: 2, code: "ISTH-1073" });
    // Twenty minutes of failure, two identities, half a minute between attempts at most.
    expect(asked.length - before).toBeLessThan((2 * (20 * 60)) / 15 + 30);
    expect(log.lines.filter(({ event }) => event === "identity_not_issued")).toHaveLength(2);
    await pass(11 * 60_000, 5_000);
    expect(source.has(web)).toBe(false);
    expect(source.callerToken(web, "a/b/c")).toBeUndefined();
    delete scripted.failure;
    await pass(60_000, 1_000);
    expect(source.has(web)).toBe(true);
    expect(source.identity?.()).toMatchObject({ issuer: "answers", missing: [] });
    source.stop();
  });

  it("asks for a few at a time", async () => {
    const { open, trustDomain, scripted } = world();
    const source = await open();
    source.want(
      Array.from({ length: 200 }, (_, number) => workloadSpiffeId(trustDomain, "shop", `a${number}`)),
    );
    for (let turn = 0; turn < 300; turn++) await Promise.resolve();
    await settle();
    expect(scripted.most).toBeLessThanOrEqual(4);
    expect(source.identity?.()).toMatchObject({ held: 201 });
    source.stop();
  });

  it("takes no certificate of somebody else, and no account's failure harms another's", async () => {
    const { open, web, trustDomain, scripted } = world();
    const source = await open();
    scripted.signAs = workloadSpiffeId(trustDomain, "shop", "other");
    source.want([web]);
    await settle();
    expect(source.has(web)).toBe(false);
    expect(source.identity?.()).toMatchObject({ issuer: "fails", code: "ISTH-1072", held: 1 });
    source.stop();
  });

  it("asks for everything anew when the cluster's CA was renewed", async () => {
    const { open, web, state, asked } = world();
    const source = await open();
    source.want([web]);
    await settle();
    const before = asked.length;
    state.publish({ ca: { certificatePem: "renewed" } });
    await settle();
    expect(asked.slice(before).sort()).toEqual([source.credential.current.spiffeId.uri, web.uri].sort());
    source.stop();
  });

  it("leaves one in use for a minute beside a newer one that is not dated back", async () => {
    const { open, pass, scripted, clock } = world();
    scripted.undated = true;
    const source = await open();
    const first = source.credential.current;
    expect(first.notBeforeMs).toBe(clock.now());
    await pass(33 * 60_000, 10_000);
    const second = source.credential.current;
    expect(second).not.toBe(first);
    const replaced: number[] = [];
    source.credential.subscribe(({ notBeforeMs }) => replaced.push(clock.now() - notBeforeMs));
    await pass(2 * HOUR_MS, 10_000);
    expect(replaced.length).toBeGreaterThanOrEqual(3);
    expect(Math.min(...replaced)).toBeGreaterThanOrEqual(60_000);
    source.stop();
  });
});

describe("identities that are asked for on demand", () => {
  it("asks when somebody first needs one, and keeps it new while it is used", async () => {
    const { open, web, pass, asked } = world();
    const source = await open(true);
    expect(source.has(web)).toBe(false);
    expect(source.has(web)).toBe(false);
    await settle();
    expect(asked.filter((uri) => uri === web.uri)).toHaveLength(1);
    for (let turn = 0; turn < 60; turn++) {
      expect(source.has(web)).toBe(true);
      expect(source.callerToken(web, "a/b/c")).toBeDefined();
      await pass(2 * 60_000);
    }
    expect(asked.filter((uri) => uri === web.uri).length).toBeGreaterThanOrEqual(4);
    source.stop();
  });

  it("lets one go that nobody used since it was issued, and asks anew when it is needed again", async () => {
    const { open, web, pass, asked } = world();
    const source = await open(true);
    source.has(web);
    await settle();
    await pass(2 * HOUR_MS);
    expect(source.identity?.()).toMatchObject({ held: 1, missing: [] });
    expect(asked.filter((uri) => uri === web.uri)).toHaveLength(1);
    expect(source.has(web)).toBe(false);
    await settle();
    expect(source.has(web)).toBe(true);
    source.stop();
  });

  it("gives up on one that cannot be had once nobody asks for it any more", async () => {
    const { open, web, pass, scripted, asked } = world();
    const source = await open(true);
    scripted.failure = DOWN;
    source.has(web);
    await pass(5 * 60_000, 1_000);
    const before = asked.length;
    await pass(10 * 60_000, 1_000);
    expect(asked).toHaveLength(before);
    expect(source.identity?.()).toMatchObject({ held: 1, missing: [] });
    source.stop();
  });

  it("asks for nobody unasked where it is told whose identities it needs", async () => {
    const { open, web, asked } = world();
    const source = await open();
    expect(source.has(web)).toBe(false);
    await settle();
    expect(asked).not.toContain(web.uri);
    source.stop();
  });
});
