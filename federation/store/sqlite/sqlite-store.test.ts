import { randomBytes } from "node:crypto";
import { copyFileSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { runStoreConformance } from "../../../test/conformance/store.ts";
import { unwrap } from "../../../test/fakes/pki.ts";
import { exportOf, openRegistryScene } from "../../../test/fakes/registry-scene.ts";
import { useTempDirs } from "../../../test/fakes/temp-dir.ts";
import { HighWaterMark } from "./high-water.ts";
import { openDatabase } from "./open.ts";
import { openSqliteStore, SqliteStore } from "./sqlite-store.ts";

const directory = useTempDirs();

runStoreConformance("SQLite", () => {
  const path = directory();
  return { open: () => unwrap(openSqliteStore(path)) };
});

/** A store with one cluster in it, closed. */
async function usedStore(): Promise<string> {
  const path = directory();
  const scene = await openRegistryScene({ directory: path });
  await scene.register("east");
  await scene.apply(exportOf("east", "cart", "west"));
  await scene.registry.close();
  return path;
}

function refusal(path: string): string {
  const opened = openSqliteStore(path, { lockWaitMs: 100 });
  if (!opened.ok) return `${opened.error.name}: ${opened.error.detail}`;
  opened.value.close();
  return "opened";
}

describe("opening", () => {
  test("keeps its files from everyone else", async () => {
    const path = await usedStore();
    for (const file of ["registry.db", "registry.revision"])
      expect(statSync(join(path, file)).mode & 0o777, file).toBe(0o600);
  });

  test("refuses a second registry on the same directory", async () => {
    const path = directory();
    const store = unwrap(openSqliteStore(path));
    expect(refusal(path)).toMatch(/^state_unusable: .*in use by another registry/);
    store.close();
    expect(refusal(path)).toBe("opened");
  });

  test("refuses an older copy of itself that was put back", async () => {
    const path = directory();
    const scene = await openRegistryScene({ directory: path });
    await scene.register("east");
    await scene.registry.close();
    const older = join(directory(), "copy.db");
    copyFileSync(join(path, "registry.db"), older);
    const again = await openRegistryScene({ directory: path });
    await again.register("west");
    await again.registry.close();
    copyFileSync(older, join(path, "registry.db"));
    expect(refusal(path)).toMatch(/at revision 1, but revision 2 was acknowledged/);
  });

  test("refuses a file that is no database, a foreign database, and one of a newer version", async () => {
    const garbage = directory();
    writeFileSync(join(garbage, "registry.db"), randomBytes(8192));
    expect(refusal(garbage)).toMatch(/^state_unusable: .*damaged/);
    const foreign = directory();
    const database = new DatabaseSync(join(foreign, "registry.db"));
    database.exec("CREATE TABLE theirs (x)");
    database.close();
    expect(refusal(foreign)).toMatch(/not a registry's store/);
    const newer = await usedStore();
    const ours = new DatabaseSync(join(newer, "registry.db"));
    ours.exec("PRAGMA user_version = 99");
    ours.close();
    expect(refusal(newer)).toMatch(/schema version 99/);
  });

  test("migrates one of the version before, whose members have no order yet", async () => {
    const path = await usedStore();
    const old = new DatabaseSync(join(path, "registry.db"));
    old.exec(`DROP TABLE spent; DROP TABLE members;
      CREATE TABLE members (cluster TEXT NOT NULL, member TEXT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (cluster, member)) WITHOUT ROWID, STRICT;
      INSERT INTO members VALUES ('east', 'gateway-1', '{"role":"gateway"}');
      PRAGMA user_version = 1`);
    old.close();
    for (const name of ["spent-at-first", "spent-again"]) {
      const store = unwrap(openSqliteStore(path));
      const [member] = unwrap(await store.members());
      expect(member).toMatchObject({
        cluster: "east",
        member: "gateway-1",
        sequence: 0,
        status: { role: "gateway" },
      });
      expect(unwrap(await store.spend(name, 2, 1))).toBe(true);
      store.close();
    }
  });

  test("finds a single flipped letter in what it stored", async () => {
    const path = await usedStore();
    const file = join(path, "registry.db");
    const bytes = readFileSync(file);
    const at = bytes.lastIndexOf('"consumers":[{"cluster":"west"');
    expect(at).toBeGreaterThan(0);
    bytes[at + '"consumers":[{"cluster":"'.length] = "b".charCodeAt(0);
    writeFileSync(file, bytes);
    expect(refusal(path)).toMatch(/damaged .*ServiceExport\/east\/shop\/cart does not match its checksum/);
  });

  test("refuses a truncated file", async () => {
    const path = await usedStore();
    const file = join(path, "registry.db");
    writeFileSync(file, readFileSync(file).subarray(0, 6_000));
    expect(refusal(path)).toMatch(/^state_unusable/);
  });
});

describe("a disk that refuses writes", () => {
  const sceneOver = async (path: string) => {
    const database = unwrap(openDatabase(join(path, "registry.db")));
    const store = new SqliteStore(database, new HighWaterMark(join(path, "registry.revision")));
    return { database, scene: await openRegistryScene({ directory: path, store }) };
  };

  test("costs a 503 per write, no read, no acknowledged change, and no restart once there is room", async () => {
    const path = directory();
    const { scene, database } = await sceneOver(path);
    const east = await scene.join("east");
    // The database's own limit refuses as a full disk does.
    database.exec("PRAGMA max_page_count = 1");
    const consumers = Array.from({ length: 500 }, (_, index) => `consumer-${index}`);
    const refused = await scene.apply(exportOf("east", "cart", ...consumers));
    expect(refused).toMatchObject({ status: 503, json: { code: "ISTH-5008" } });
    expect(refused.headers.get("retry-after")).toBe("5");
    expect(await scene.send("GET", "/readyz")).toMatchObject({ status: 200, json: { writable: false } });
    expect(await scene.send("GET", "/v1/resources")).toMatchObject({
      json: { revision: 2, items: [{ kind: "Cluster" }] },
    });
    expect((await scene.snapshot(east)).revision).toBe(2);
    database.exec("PRAGMA max_page_count = 1073741823");
    expect((await scene.apply(exportOf("east", "cart", ...consumers))).status).toBe(200);
    expect(await scene.send("GET", "/readyz")).toMatchObject({ json: { writable: true } });
    await scene.registry.close();
    const again = unwrap(openSqliteStore(path));
    expect(unwrap(await again.load()).clusters.get("east")?.exports.size).toBe(1);
    again.close();
  });

  test("may also be read-only: reads go on, and so do writes when it is writable again", async () => {
    const { scene, database } = await sceneOver(directory());
    const register = () => scene.send("POST", "/v1/clusters", { body: { name: "east" } });
    database.exec("PRAGMA query_only = ON");
    expect(await register()).toMatchObject({ status: 503, json: { code: "ISTH-5008" } });
    expect((await scene.send("GET", "/v1/clusters")).status).toBe(200);
    database.exec("PRAGMA query_only = OFF");
    expect((await register()).status).toBe(201);
  });
});
