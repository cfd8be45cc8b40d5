import { join } from "node:path";
import { type AttributeValue, PutItemCommand, ScanCommand } from "@aws-sdk/client-dynamodb";
import { afterEach, expect, test } from "vitest";
import { recover } from "../../federation/runtime/maintenance.ts";
import { tableOf } from "../fakes/dynamodb-local.ts";
import { dynamoDbMissing } from "../fakes/dynamodb-missing.ts";
import { unwrap } from "../fakes/pki.ts";
import { type ProxiedMembers, startProxiedMembers } from "../fakes/proxied-members.ts";
import { startRegistryProcess } from "../fakes/registry-process.ts";
import { useTempDirs } from "../fakes/temp-dir.ts";
import { until } from "../fakes/until.ts";

const directory = useTempDirs();
const missing = dynamoDbMissing();
let members: ProxiedMembers | undefined;
afterEach(() => members?.stop());

// As AWS does it: point-in-time recovery makes another table.
test.skipIf(missing !== undefined)(
  `members refuse a table restored to an earlier hour, say so, and \`registry recover\` heals it (${missing ?? "DynamoDB Local"})`,
  { timeout: 90_000 },
  async () => {
    const [first, second] = [await tableOf(directory()), await tableOf(directory())];
    const { client, endpoint } = first.local;
    const settingsOf = (table: string) => ({
      ISTHMUS_STORE: "dynamodb",
      ISTHMUS_DYNAMODB_TABLE: table,
      ISTHMUS_DYNAMODB_ENDPOINT: endpoint,
    });
    const scene = await startProxiedMembers(settingsOf(first.table));
    members = scene;
    const load = scene.startCalling();
    const items: Record<string, AttributeValue>[] = [];
    for (let from: Record<string, AttributeValue> | undefined; ; ) {
      const page = await client.send(
        new ScanCommand({
          TableName: first.table,
          ConsistentRead: true,
          ...(from === undefined ? {} : { ExclusiveStartKey: from }),
        }),
      );
      items.push(...(page.Items ?? []));
      from = page.LastEvaluatedKey;
      if (from === undefined) break;
    }
    for (const Item of items) await client.send(new PutItemCommand({ TableName: second.table, Item }));
    const lost = await scene.change();
    await until("west hears of what the copy lacks", 10_000, () => scene.importedAt(lost));
    await until("west has reported it", 20_000, async () =>
      Reflect.get((await scene.checked()) ?? {}, "status") === "ok" ? true : undefined,
    );

    const before = scene.registry;
    const settings = { ISTHMUS_STATE_DIR: join(scene.directory, "registry"), ...settingsOf(second.table) };
    scene.registry = await startRegistryProcess(settings.ISTHMUS_STATE_DIR, settings);
    await before.end("SIGKILL");
    await until("the member refuses the lower revision", 40_000, async () =>
      (await scene.status()).discovery?.refusedCode === "ISTH-1052" ? true : undefined,
    );
    // What was known stays in force, and the operator is told what is wrong and what to do.
    expect(scene.importedAt(lost)).toBeDefined();
    await until("the check says so", 20_000, async () =>
      Reflect.get((await scene.checked()) ?? {}, "code") === "ISTH-1052" ? true : undefined,
    );
    expect(await scene.checked()).toMatchObject({
      status: "failed",
      fix: expect.stringContaining("isthmus registry recover"),
    });

    // The registry serves meanwhile: its store is shared.
    const { from, revision } = unwrap(await recover((key) => new Map(Object.entries(settings)).get(key)));
    expect(revision).toBeGreaterThan(from + 1);
    await until("the member accepts what the registry says again", 20_000, async () => {
      const { discovery } = await scene.status();
      return discovery?.connected === true && discovery.refusedCode === undefined ? true : undefined;
    });
    expect(scene.importedAt(lost)).toBeUndefined();
    const next = await scene.change();
    await until("news is heard again", 10_000, () => scene.importedAt(next));
    expect((await load.stop()).filter((answer) => answer !== "200")).toEqual([]);
  },
);
