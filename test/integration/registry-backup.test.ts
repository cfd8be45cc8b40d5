import { createHash } from "node:crypto";
import { copyFileSync, cpSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { systemClock } from "../../federation/runtime/clock.ts";
import { exportTo, importFrom, migrate, recover } from "../../federation/runtime/maintenance.ts";
import { createServerless } from "../../federation/runtime/serverless.ts";
import { joinAs, type Member, snapshotOf } from "../chaos/member.ts";
import { tableOf } from "../fakes/dynamodb-local.ts";
import { dynamoDbMissing } from "../fakes/dynamodb-missing.ts";
import { unwrap } from "../fakes/pki.ts";
import { exportOf, importOf, memberReport } from "../fakes/registry-scene.ts";
import {
  failRegistryProcess,
  type RegistryProcess,
  startRegistryProcess,
} from "../fakes/registry-process.ts";
import { useTempDirs } from "../fakes/temp-dir.ts";

const directory = useTempDirs();
const missing = dynamoDbMissing();
let running: RegistryProcess | undefined;
afterEach(() => void running?.child.kill("SIGKILL"));

const settingsOf = (stateDir: string, more: Record<string, string> = {}) => {
  const settings: Record<string, string> = { ISTHMUS_STATE_DIR: stateDir, ...more };
  return (key: string): string | undefined => settings[key];
};

/** A registry that ran, with two clusters and something between them; it is stopped. */
async function usedRegistry(): Promise<{
  readonly stateDir: string;
  readonly east: Member;
  readonly west: Member;
}> {
  const stateDir = join(directory(), "state");
  running = await startRegistryProcess(stateDir);
  const { client } = running;
  const [east, west] = [await joinAs(client, "east"), await joinAs(client, "west")];
  await east.reportServices(["cart"]);
  unwrap(await client.apply([exportOf("east", "cart", "west"), importOf("west", "cart", "east")]));
  return { stateDir, east, west };
}

const ask = (member: Member, url: string, etag: string) =>
  member.request(url, "GET", `/v1/clusters/${member.cluster}/snapshot`, undefined, { "if-none-match": etag });

describe("a backup", () => {
  test.skipIf(missing !== undefined)(
    `moves a federation to another store, and no member notices (${missing ?? "DynamoDB Local"})`,
    { timeout: 60_000 },
    async () => {
      const { stateDir, west } = await usedRegistry();
      const before = await snapshotOf(west);
      await running?.end("SIGTERM");
      const file = join(directory(), "backup.ndjson");
      const exported = unwrap(await exportTo(settingsOf(stateDir), file));
      expect(exported).toMatchObject({ federation: "demo.mesh", clusters: 2 });
      expect(statSync(file).mode & 0o777).toBe(0o600);
      const elsewhere = join(directory(), "state");
      const { local, table } = await tableOf(elsewhere);
      const dynamoDb = {
        ISTHMUS_STORE: "dynamodb",
        ISTHMUS_DYNAMODB_TABLE: table,
        ISTHMUS_DYNAMODB_ENDPOINT: local.endpoint,
      };
      unwrap(await migrate(settingsOf(elsewhere, dynamoDb)));
      expect(unwrap(await importFrom(settingsOf(elsewhere, dynamoDb), file))).toEqual(exported);
      copyFileSync(join(stateDir, "admin.token"), join(elsewhere, "admin.token"));
      running = await startRegistryProcess(elsewhere, dynamoDb);
      expect((await ask(west, running.url, `"${before.revision}"`)).status).toBe(304);
      expect(await snapshotOf(west, running.url)).toEqual(before);
      const audit = unwrap(await running.client.audit({ after: 0, limit: 100 }));
      expect(audit.items.map(({ revision }) => revision)).toEqual(audit.items.map((_, index) => index + 1));
      expect(audit.items).toHaveLength(exported.records);
      // And it goes on from there.
      expect(unwrap(await running.client.apply([exportOf("east", "pay", "west")])).revision).toBe(
        exported.revision + 1,
      );
      expect(await importFrom(settingsOf(elsewhere, dynamoDb), file)).toMatchObject({
        ok: false,
        error: { name: "state_unusable", detail: expect.stringContaining("demo.mesh already") },
      });
    },
  );

  test.skipIf(missing !== undefined)(
    `takes along keys that a function sealed in its table, also rotated ones, and says what it needs (${missing ?? "DynamoDB Local"})`,
    { timeout: 60_000 },
    async () => {
      const from = join(directory(), "from");
      const { local, table } = await tableOf(from);
      const token = "an-admin-token-of-this-test";
      const secret = Buffer.alloc(32, 3).toString("base64");
      const dynamoDb = {
        ISTHMUS_STORE: "dynamodb",
        ISTHMUS_DYNAMODB_TABLE: table,
        ISTHMUS_DYNAMODB_ENDPOINT: local.endpoint,
      };
      const settings = new Map(
        Object.entries({
          ...dynamoDb,
          ISTHMUS_FEDERATION: "demo.mesh",
          ISTHMUS_ADMIN_TOKEN_SHA256: createHash("sha256").update(token).digest("hex"),
          ISTHMUS_SEAL_SECRET: secret,
        }),
      );
      const lambda = createServerless({
        get: (key) => settings.get(key),
        clock: systemClock,
        random: Math.random,
        newId: () => crypto.randomUUID(),
        write: () => {},
      });
      const ask = async (method: string, path: string, body?: object) => {
        const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
        const init = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
        return (await lambda.fetch(new Request(`http://registry.test${path}`, init))).json();
      };
      await ask("POST", "/v1/clusters", { name: "east" });
      await ask("POST", "/v1/snapshot-keys/rotate", { compromised: true });
      await ask("POST", "/v1/snapshot-keys/rotate", {});
      const info = (await ask("GET", "/v1/federation")) as { readonly snapshotKeys: object };

      const file = join(directory(), "backup.ndjson");
      const refused = async (more: Record<string, string>) => {
        const answer = await exportTo(settingsOf(from, { ...dynamoDb, ...more }), join(directory(), "none"));
        return answer.ok ? "exported" : answer.error.detail;
      };
      expect(await refused({})).toMatch(/sealed in the table: set ISTHMUS_SEAL_SECRET/);
      const other = Buffer.alloc(32, 4).toString("base64");
      expect(await refused({ ISTHMUS_SEAL_SECRET: other })).toMatch(/sealed with another secret/);
      unwrap(await exportTo(settingsOf(from, { ...dynamoDb, ISTHMUS_SEAL_SECRET: secret }), file));
      const text = readFileSync(file, "utf8");
      expect(text.match(/BEGIN PRIVATE KEY/g)?.length).toBe(4);

      const to = join(directory(), "to");
      const imported = unwrap(await importFrom(settingsOf(to), file));
      expect(imported).toMatchObject({ federation: "demo.mesh", clusters: 1 });
      writeFileSync(join(to, "admin.token"), token, { mode: 0o600 });
      running = await startRegistryProcess(to);
      expect(unwrap(await running.client.federation()).snapshotKeys).toEqual(info.snapshotKeys);
      // What signs, signs here too.
      await joinAs(running.client, "north");
    },
  );

  test("is refused whole where it was cut, changed, or is none", { timeout: 60_000 }, async () => {
    const { stateDir } = await usedRegistry();
    await running?.end("SIGTERM");
    const file = join(directory(), "backup.ndjson");
    unwrap(await exportTo(settingsOf(stateDir), file));
    const text = readFileSync(file, "utf8");
    const cases: readonly (readonly [string, string])[] = [
      ["cut short", text.split("\n").slice(0, -2).join("\n")],
      ["changed", text.replace('"shop"', '"chop"')],
      ["is none of", "{}\n"],
      ["no JSON in line 1", "garbage\n"],
    ];
    for (const [reason, content] of cases) {
      writeFileSync(file, content);
      const target = join(directory(), "state");
      const refused = await importFrom(settingsOf(target), file);
      expect(refused.ok ? "imported" : `${refused.error.name}: ${refused.error.detail}`).toMatch(
        new RegExp(`^file_invalid: .*${reason}`),
      );
    }
    expect(await exportTo(settingsOf(stateDir), file)).toMatchObject({
      ok: false,
      error: { name: "state_unusable" },
    });
  });
});

describe("an older copy of the store", () => {
  test("is refused at the start, and goes on after `registry recover`: members accept it again", {
    timeout: 60_000,
  }, async () => {
    const { stateDir, west } = await usedRegistry();
    await running?.end("SIGTERM");
    const copy = join(directory(), "copy");
    cpSync(join(stateDir, "registry.db"), copy);
    running = await startRegistryProcess(stateDir);
    for (const name of ["a", "b", "c"]) {
      unwrap(await running.client.apply([exportOf("east", name, "west"), importOf("west", name, "east")]));
      await west.request(running.url, "PUT", "/v1/clusters/west/members/gateway-1", memberReport());
    }
    const { revision: newest } = unwrap(await running.client.list());
    const seen = await snapshotOf(west, running.url);
    await running.end("SIGTERM");
    for (const rest of ["-wal", "-shm"]) rmSync(join(stateDir, `registry.db${rest}`), { force: true });
    copyFileSync(copy, join(stateDir, "registry.db"));
    const refused = await failRegistryProcess({ ISTHMUS_STATE_DIR: stateDir, ISTHMUS_LISTEN: "127.0.0.1:0" });
    expect(refused.stderr).toMatch(/an older copy \(isthmus registry recover goes on with it\)/);
    const recovered = unwrap(await recover(settingsOf(stateDir)));
    expect(recovered.revision).toBe(newest + 1);
    running = await startRegistryProcess(stateDir);
    const after = await snapshotOf(west, running.url);
    expect(after.revision).toBeGreaterThan(seen.revision);
    const trail = unwrap(await running.client.audit({ after: 0, limit: 100 })).items.at(-1);
    expect(trail).toMatchObject({
      action: "federation.advance",
      revision: newest + 1,
      targets: [`Revision/${recovered.from}..${newest + 1}`],
    });
  });

  test.skipIf(missing !== undefined)(
    `of a table says what members had, and \`registry recover\` goes on beyond that (${missing ?? "DynamoDB Local"})`,
    { timeout: 60_000 },
    async () => {
      const stateDir = join(directory(), "state");
      const { local, table } = await tableOf(stateDir);
      const on = (name: string): Record<string, string> => ({
        ISTHMUS_STORE: "dynamodb",
        ISTHMUS_DYNAMODB_TABLE: name,
        ISTHMUS_DYNAMODB_ENDPOINT: local.endpoint,
      });
      running = await startRegistryProcess(stateDir, on(table));
      const { client } = running;
      const [east, west] = [await joinAs(client, "east"), await joinAs(client, "west")];
      const early = join(directory(), "early.ndjson");
      unwrap(await exportTo(settingsOf(stateDir, on(table)), early));
      for (const name of ["a", "b", "c"]) {
        await east.reportServices([name]);
        unwrap(await client.apply([exportOf("east", name, "west"), importOf("west", name, "east")]));
      }
      const seen = await snapshotOf(west);
      await running.end("SIGTERM");

      // As point-in-time recovery makes it: a new table with what there was earlier.
      const { table: restored } = await tableOf(join(directory(), "restored"));
      unwrap(await importFrom(settingsOf(stateDir, on(restored)), early));
      running = await startRegistryProcess(stateDir, on(restored));
      expect((await snapshotOf(west, running.url)).revision).toBeLessThan(seen.revision);
      const report = memberReport({ appliedRevision: seen.revision });
      const path = "/v1/clusters/west/members/gateway-1";
      expect((await west.request(running.url, "PUT", path, report)).status).toBe(204);
      const recovered = unwrap(await recover(settingsOf(stateDir, on(restored))));
      expect(recovered.revision).toBe(seen.revision + 1);
      // The instance that runs follows, and members take what it says.
      expect((await snapshotOf(west, running.url)).revision).toBeGreaterThan(seen.revision);
      unwrap(await running.client.apply([exportOf("east", "d", "west")]));
    },
  );
});
