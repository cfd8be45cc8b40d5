import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  bundlesFromMap,
  createRoot,
  loadRoot,
  localRootSigner,
  signKeySet,
} from "../../federation/trust/index.ts";
import { createWatch } from "../../gateway/dataplane/lifecycle/watch.ts";
import { createMemberClient } from "../../gateway/discovery/member-client.ts";
import { openSnapshotSource, type SnapshotSource } from "../../gateway/discovery/snapshot-source.ts";
import { eventually } from "../fakes/manual-clock.ts";
import { createMemoryLog } from "../fakes/memory-log.ts";
import { unwrap } from "../fakes/pki.ts";
import { exportOf, openRegistryScene } from "../fakes/registry-scene.ts";
import { useTempDirs } from "../fakes/temp-dir.ts";

const directory = useTempDirs();
const HOUR_MS = 3_600_000;

/** A member's own code before a whole registry; the hands of the clock are ours. */
async function scene() {
  const registry = await openRegistryScene({ directory: directory() });
  const { clock } = registry;
  const east = await registry.join("east");
  const west = await registry.join("west");
  await registry.reportServices(east, "cart");
  const stateDir = directory();
  const log = createMemoryLog();
  const { trustDomain } = east.ca;
  const state = createWatch({
    federation: "demo.mesh",
    cluster: "east",
    trustDomain,
    snapshotKeys: { keys: [...east.answer.snapshotKeys.keys] },
    bundles: unwrap(bundlesFromMap(JSON.stringify(east.answer.bundles))),
  });
  let answerKeys: string | undefined;
  const client = createMemberClient({
    registry: "http://registry.test",
    credential: () => east.credential(),
    clock,
    // What is packed, node:http's fetch would unpack.
    fetch: async (url, { headers: { "accept-encoding": _, ...headers }, ...init }) =>
      answerKeys !== undefined && url.endsWith("/snapshot-keys")
        ? new Response(answerKeys)
        : registry.fetch(new Request(url, { ...init, headers })),
  });
  const open = async (): Promise<SnapshotSource> => {
    const source = await openSnapshotSource({
      state,
      stateDir,
      member: "gateway-1",
      client,
      clock,
      random: () => 0.5,
      log,
    });
    await clock.advanceAsync(0);
    return source;
  };
  let changes = 0;
  /** Something that the member hears of, if it believes what it is told. */
  const news = async (source: SnapshotSource): Promise<boolean> => {
    const before = source.snapshot.current?.revision ?? 0;
    await registry.apply(exportOf("west", `s${++changes}`, "east"));
    await registry.reportServices(west, ...Array.from({ length: changes }, (_, index) => `s${index + 1}`));
    for (let turn = 0; turn < 50 && (source.snapshot.current?.revision ?? 0) <= before; turn++)
      await clock.advanceAsync(200);
    return (
      (source.snapshot.current?.revision ?? 0) > before && source.status.current.refusedCode === undefined
    );
  };
  const rotate = (body: object = {}) => registry.send("POST", "/v1/snapshot-keys/rotate", { body });
  const maintain = async (passedMs: number) => {
    // At once: a week of polls is not the subject.
    clock.advance(passedMs);
    await clock.advanceAsync(0);
    unwrap(await registry.registry.maintain({ makesKeys: true }));
    await clock.advanceAsync(5_000);
  };
  /** Waits until what is in force lies on disk; answers in how many lines. */
  const kept = async (source: SnapshotSource): Promise<number> => {
    const file = join(stateDir, "snapshot-gateway-1.jws");
    const lines = () => readFileSync(file, "utf8").trim().split("\n");
    const payload = () => Buffer.from(lines()[0]?.split(".")[1] ?? "", "base64url").toString();
    await eventually(
      () => existsSync(file) && payload().includes(`"revision":${source.snapshot.current?.revision},`),
    );
    return lines().length;
  };
  const forge = (text: string | undefined) => (answerKeys = text);
  return { ...registry, open, news, rotate, maintain, kept, log, forge };
}

test("a member takes up each key before it signs, and no snapshot is refused on the way", async () => {
  const { open, news, rotate, maintain, log, kept } = await scene();
  const source = await open();
  expect(await news(source)).toBe(true);
  expect(await kept(source)).toBe(1);
  await rotate();
  expect(await news(source)).toBe(true);
  expect(log.of("snapshot_keys_taken")).toHaveLength(1);
  await maintain(HOUR_MS);
  expect(await news(source)).toBe(true);
  await maintain(7 * 24 * HOUR_MS);
  expect(await news(source)).toBe(true);
  expect(log.of("snapshot_keys_taken")).toHaveLength(3);
  expect(log.of("snapshot_refused")).toEqual([]);
  // What lies on disk is believed at the next start, by the set that lies beside it.
  expect(await kept(source)).toBe(2);
  const { revision } = source.snapshot.current ?? {};
  source.stop();
  expect((await open()).snapshot.current?.revision).toBe(revision);
});

test("a member that was away for all of it starts from what it has, and comes back by the root's word", async () => {
  const { open, news, rotate, maintain, log, kept } = await scene();
  const first = await open();
  await news(first);
  await kept(first);
  const { revision } = first.snapshot.current ?? {};
  first.stop();
  // Twice, so that it knows neither the old nor the new key.
  for (let times = 0; times < 2; times++) {
    await rotate();
    await maintain(HOUR_MS);
    await maintain(7 * 24 * HOUR_MS);
  }
  const second = await open();
  expect(log.of("snapshot_loaded").at(-1)).toMatchObject({ revision });
  expect(await news(second)).toBe(true);
  expect(log.of("snapshot_refused")).toEqual([]);
});

test("a key that is replaced at once costs no poll, and its snapshots are worth nothing from then on", async () => {
  const { open, news, rotate, log } = await scene();
  const source = await open();
  await news(source);
  await rotate({ compromised: true });
  expect(await news(source)).toBe(true);
  expect(log.of("snapshot_refused")).toEqual([]);
  source.stop();
});

test("a set that the root did not sign, or an older one, changes nothing; what is in force stays", async () => {
  const { open, news, rotate, log, forge, send, kept } = await scene();
  const source = await open();
  await news(source);
  const mallory = localRootSigner(unwrap(loadRoot(createRoot({ federation: "demo.mesh", now: 0 }))));
  const keys = [{ kid: "k", x: "AAAA" }];
  forge(await signKeySet({ federation: "demo.mesh", sequence: 8e12, keys }, mallory));
  await rotate();
  await news(source);
  expect(log.of("snapshot_keys_refused")).toHaveLength(1);
  expect(await kept(source)).toBe(1);
  forge(undefined);
  expect(await news(source)).toBe(true);
  const old = (await send("GET", "/v1/snapshot-keys", { token: null })).text;
  const before = log.of("snapshot_keys_taken").length;
  forge(old);
  // The answer is that of before the key was replaced: the new key stays unknown, and nothing is lost.
  await rotate({ compromised: true });
  expect(await news(source)).toBe(false);
  expect(log.of("snapshot_keys_taken")).toHaveLength(before);
  expect(source.snapshot.current).toBeDefined();
  expect(source.status.current.refusedCode).toBe("ISTH-1051");
  forge(undefined);
  expect(await news(source)).toBe(true);
  source.stop();
});
