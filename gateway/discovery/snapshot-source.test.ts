// Longer than other files: every way in which a registry, an answer and a disk can fail, in one scene.
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { diffText } from "../../federation/model/text-delta.ts";
import { createFakeRegistry, emptySnapshot } from "../../test/fakes/fake-registry.ts";
import { createManualClock, eventually, settle } from "../../test/fakes/manual-clock.ts";
import { createMemoryLog } from "../../test/fakes/memory-log.ts";
import { createTestFederation } from "../../test/fakes/pki.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { PROBLEMS } from "../../federation/model/problem.ts";
import { createWatch } from "../dataplane/lifecycle/watch.ts";
import { createMemberClient } from "./member-client.ts";
import { openSnapshotSource, type SnapshotSource } from "./snapshot-source.ts";

const tempDir = useTempDirs();

function scene(stateDir = tempDir()) {
  const clock = createManualClock();
  const federation = createTestFederation("demo.mesh", ["east", "west"], clock.now());
  const registry = createFakeRegistry(federation, "east", clock);
  const log = createMemoryLog();
  const credential = federation.system("east", "gateway");
  const { trustDomain } = federation.cluster("east");
  const state = createWatch({
    federation: "demo.mesh",
    cluster: "east",
    trustDomain,
    snapshotKeys: registry.snapshotKeys,
    bundles: federation.bundles,
  });
  const client = createMemberClient({
    registry: registry.url,
    credential: () => credential,
    clock,
    fetch: registry.fetch,
  });
  const file = join(stateDir, "snapshot-gateway-1.jws");
  return {
    clock,
    federation,
    registry,
    log,
    file,
    state,
    async open(): Promise<SnapshotSource> {
      const source = await openSnapshotSource({
        state,
        stateDir,
        member: "gateway-1",
        client,
        clock,
        random: () => 1,
        log,
      });
      await clock.advanceAsync(0);
      return source;
    },
  };
}

function fillUp(path: string): void {
  writeFileSync(path, "");
  for (const size of [4096, 512, 64, 1]) {
    try {
      for (;;) appendFileSync(path, Buffer.alloc(size));
    } catch (error) {
      expect(error).toMatchObject({ code: "ENOSPC" });
    }
  }
}

const canMount = process.getuid?.() === 0 && mounts();

function mounts(): boolean {
  const directory = mkdtempSync(join(tmpdir(), "isthmus-mount-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", directory], { stdio: "ignore" });
    execFileSync("umount", [directory], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const polls = (requests: readonly string[]) => requests.filter((line) => line.endsWith("/snapshot")).length;

function payloadOf(jws: string): string {
  return Buffer.from(jws.split(".")[1] ?? "", "base64url").toString();
}

function textOf(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, "utf8").trim() : undefined;
}

describe("openSnapshotSource", () => {
  it("publishes each new revision as soon as the registry has it, and keeps it on disk", async () => {
    const { open, registry, clock, file } = scene();
    registry.publish();
    const source = await open();
    expect(source.snapshot.current?.revision).toBe(1);
    const second = registry.publish();
    await clock.advanceAsync(0);
    expect(source.snapshot.current).toEqual(second);
    expect(source.status.current).toEqual({ connected: true, lastContactMs: clock.now(), revision: 2 });
    const jws = await registry.sign(second);
    await eventually(() => textOf(file) === jws);
    source.stop();
  });

  it("takes what changed, and asks for the whole after a delta that leads nowhere", async () => {
    const { open, registry, clock, log } = scene();
    const first = registry.publish();
    const source = await open();
    const before = payloadOf(await registry.sign(first));
    const second = { ...first, revision: 2 };
    const [header, payload, signature] = (await registry.sign(second)).split(".");
    const patch = diffText(before, Buffer.from(payload ?? "", "base64url").toString());
    const delta = {
      apiVersion: "isthmus.dev/v1alpha1",
      kind: "SnapshotDelta",
      from: 1,
      to: 2,
      header,
      patch,
      signature,
    };
    registry.nextSnapshot = { status: 226, text: JSON.stringify(delta) };
    registry.publish();
    await clock.advanceAsync(0);
    expect(source.snapshot.current?.revision).toBe(2);
    // One letter of the outcome is another: the signature over the whole tells.
    const torn = { ...delta, from: 2, to: 3, patch: [[0, 5], "x", [6, 10_000_000]] };
    registry.nextSnapshot = { status: 226, text: JSON.stringify({ ...torn, patch: [[0, 5], "x"] }) };
    registry.publish();
    await clock.advanceAsync(0);
    expect(source.snapshot.current?.revision).toBe(2);
    expect(source.status.current.refusedCode).toBe("ISTH-1051");
    await clock.advanceAsync(5_000);
    expect(registry.lastHeaders.get("a-im")).not.toBe(null);
    expect(source.snapshot.current?.revision).toBe(3);
    expect(log.of("snapshot_refused")).toHaveLength(1);
    source.stop();
  });

  it("takes snapshots that are signed whole, as registries of the release before send them", async () => {
    const { open, registry, clock } = scene();
    const first = registry.publish();
    registry.nextSnapshot = await registry.sign(first, "whole");
    const source = await open();
    expect(source.snapshot.current).toEqual(first);
    expect(registry.lastHeaders.get("accept")).toContain("application/isthmus-digest+jose");
    const second = registry.publish();
    await clock.advanceAsync(0);
    expect(source.snapshot.current).toEqual(second);
    source.stop();
  });

  it("holds one question open instead of asking again and again", async () => {
    const { open, registry, clock } = scene();
    registry.publish();
    const source = await open();
    await clock.advanceAsync(90_000);
    expect(registry.lastHeaders.get("prefer")).toBe("wait=30");
    expect(registry.lastHeaders.get("if-none-match")).toBe('"1"');
    expect(polls(registry.requests)).toBe(5);
    source.stop();
    await settle();
    expect(clock.pending).toBe(0);
  });

  it("starts from the disk while the registry is down, and goes on when it is back within a second", async () => {
    const { open, registry, clock, file, federation } = scene();
    writeFileSync(file, await registry.sign(emptySnapshot(federation, "east", 5)));
    registry.mood = "down";
    const source = await open();
    expect(source.snapshot.current?.revision).toBe(5);
    expect(source.status.current).toMatchObject({ connected: false, revision: 5 });
    await clock.advanceAsync(600_000);
    registry.mood = "up";
    registry.publish({ revision: 6 });
    await clock.advanceAsync(1000);
    expect(source.snapshot.current?.revision).toBe(6);
    source.stop();
  });

  it("logs the loss and the return of the registry once each", async () => {
    const { open, registry, clock, log } = scene();
    registry.publish();
    const source = await open();
    registry.mood = "down";
    registry.publish();
    await clock.advanceAsync(60_000);
    registry.mood = "up";
    await clock.advanceAsync(60_000);
    expect(log.of("registry_lost")).toMatchObject([{ code: "ISTH-6005" }]);
    expect(log.of("registry_connected")).toHaveLength(2);
    source.stop();
  });

  it.each([
    ["a forged signature", "ISTH-1051", async () => forged],
    [
      "a lower revision",
      "ISTH-1052",
      async (s: Scene) => s.registry.sign(emptySnapshot(s.federation, "east", 1)),
    ],
    [
      "another cluster's",
      "ISTH-1053",
      async (s: Scene) => s.registry.sign(emptySnapshot(s.federation, "west", 9)),
    ],
    ["a malformed one", "ISTH-1054", async (s: Scene) => s.registry.sign({ revision: 9 })],
    ["an empty answer", "ISTH-1051", async () => ""],
    ["garbage", "ISTH-1051", async () => "<html>Welcome</html>"],
  ] as const)("refuses %s, keeps what is in force, and says so once", async (_, code, make) => {
    const s = scene();
    const good = s.registry.publish({ revision: 3 });
    const source = await s.open();
    const bad = await make(s);
    for (let round = 0; round < 3; round++) {
      s.registry.nextSnapshot = bad;
      s.registry.publish({ revision: 3 });
      await s.clock.advanceAsync(0);
      expect(source.snapshot.current).toEqual(good);
      expect(source.status.current).toMatchObject({ connected: true, revision: 3, refusedCode: code });
      if (round < 2) s.registry.nextSnapshot = bad;
      await s.clock.advanceAsync(4000);
    }
    expect(s.log.of("snapshot_refused")).toMatchObject([{ code }]);
    await s.clock.advanceAsync(10_000);
    expect(source.status.current.refusedCode).toBeUndefined();
    source.stop();
  });

  it.each(["mute", "garbage", "unavailable", "down"] as const)(
    "survives a registry that is %s and loses nothing",
    async (mood) => {
      const { open, registry, clock } = scene();
      registry.publish();
      const source = await open();
      registry.mood = mood;
      registry.publish();
      await clock.advanceAsync(120_000);
      expect(source.snapshot.current?.revision).toBeGreaterThanOrEqual(1);
      registry.mood = "up";
      await clock.advanceAsync(40_000);
      expect(source.snapshot.current?.revision).toBe(2);
      expect(source.status.current.connected).toBe(true);
      source.stop();
    },
  );

  it("does not believe a file that was changed on disk", async () => {
    const { open, registry, file, log, federation } = scene();
    const jws = await registry.sign(emptySnapshot(federation, "west", 5));
    writeFileSync(file, jws);
    const source = await open();
    expect(source.snapshot.current).toBeUndefined();
    expect(log.of("snapshot_file_refused")).toMatchObject([{ code: "ISTH-1053", file }]);
    source.stop();
  });

  it("goes on when the disk cannot be written, and says so once", async () => {
    const { open, registry, clock, log, file } = scene();
    const source = await open();
    // A directory of that name cannot be replaced by a file.
    mkdirSync(file);
    writeFileSync(join(file, "x"), "");
    registry.publish();
    await clock.advanceAsync(1000);
    registry.publish();
    await clock.advanceAsync(0);
    await eventually(() => log.of("snapshot_not_kept").length > 0);
    expect(source.snapshot.current?.revision).toBe(2);
    await settle(50);
    expect(log.of("snapshot_not_kept")).toHaveLength(1);
    source.stop();
  });

  it.skipIf(!canMount)(
    canMount
      ? "goes on when the disk is full, says so once with a fix, and keeps the snapshot when there is room again"
      : "goes on when the disk is full (skipped: a file system of its own needs root and mount)",
    async () => {
      const disk = tempDir();
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]);
      try {
        const { open, registry, clock, file, log } = scene(disk);
        registry.publish();
        const source = await open();
        await eventually(() => textOf(file) !== undefined);
        const ballast = join(disk, "ballast");
        fillUp(ballast);
        const [before, second] = [textOf(file), registry.publish()];
        await clock.advanceAsync(0);
        const third = registry.publish();
        await clock.advanceAsync(0);
        await eventually(
          () => source.snapshot.current?.revision === 3 && log.of("snapshot_not_kept").length > 0,
        );
        expect(second.revision).toBe(2);
        for (let tries = 0; tries < 3; tries++) {
          await clock.advanceAsync(10_000);
          await settle(20);
        }
        expect(textOf(file)).toBe(before);
        expect(log.of("snapshot_not_kept")).toEqual([
          expect.objectContaining({ code: "ISTH-6008", fix: PROBLEMS.disk_full.fix }),
        ]);

        rmSync(ballast);
        // How many turns of the loop a write takes depends on what else the machine does: by time, not by turns.
        const giveUp = performance.now() + 4_000;
        while (log.of("snapshot_kept").length === 0 && performance.now() < giveUp) {
          await clock.advanceAsync(10_000);
          await settle(20);
        }
        expect(log.of("snapshot_kept")).toHaveLength(1);
        expect(payloadOf(textOf(file) ?? "")).toBe(payloadOf(await registry.sign(third)));
        expect(readdirSync(disk).filter((name) => name.endsWith(".tmp"))).toEqual([]);
        source.stop();
      } finally {
        execFileSync("umount", ["-l", disk]);
      }
    },
  );

  it("believes a new signing key from the moment the cluster state has it", async () => {
    const { open, registry, clock, state, federation } = scene();
    registry.publish();
    const source = await open();
    const other = createFakeRegistry(federation, "east", clock);
    const next = await other.sign(emptySnapshot(federation, "east", 2));
    state.publish({ ...state.current, snapshotKeys: other.snapshotKeys });
    registry.nextSnapshot = next;
    registry.publish({ revision: 1 });
    await clock.advanceAsync(0);
    expect(source.snapshot.current?.revision).toBe(2);
    source.stop();
  });

  it("publishes nothing after stop", async () => {
    const { open, registry, clock } = scene();
    const source = await open();
    source.stop();
    registry.publish();
    await clock.advanceAsync(60_000);
    expect(source.snapshot.current).toBeUndefined();
    expect(clock.pending).toBe(0);
  });
});

type Scene = ReturnType<typeof scene>;
const forged = `${Buffer.from('{"alg":"none"}').toString("base64url")}.e30.`;
