import { afterEach, expect, test } from "vitest";
import type { AuditList, AuditRecord } from "../../federation/model/wire/api.ts";
import { exportOf } from "../fakes/registry-scene.ts";
import { unwrap } from "../fakes/pki.ts";
import { type RegistryProcess, startRegistryProcess } from "../fakes/registry-process.ts";
import { useTempDirs } from "../fakes/temp-dir.ts";
import { Random } from "../fuzz/random.ts";

const ROUNDS = 20;
const WRITERS = 4;
const SEED = 20261101;

const directory = useTempDirs();
let current: RegistryProcess | undefined;
afterEach(() => void current?.child.kill("SIGKILL"));

/** Writes until the registry is gone. What came back is acknowledged; the last of each writer is in doubt. */
async function write(
  registry: RegistryProcess,
  writer: string,
  acknowledged: Map<string, number>,
): Promise<string> {
  for (let count = 0; ; count++) {
    const name = `${writer}-${count}`;
    const answer = await registry.client.apply([exportOf("east", name, "west")], {
      requestToken: `token-${name}`,
    });
    if (!answer.ok) return name;
    acknowledged.set(name, answer.value.revision);
  }
}

async function auditOf(registry: RegistryProcess): Promise<readonly AuditRecord[]> {
  const records: AuditRecord[] = [];
  let after: number | undefined = 0;
  while (after !== undefined) {
    const page: AuditList = unwrap(await registry.client.audit({ after, limit: 1_000 }));
    records.push(...page.items);
    after = page.next;
  }
  return records;
}

test(`kill -9 at ${ROUNDS} random moments loses no acknowledged write, and repeating a doubtful one applies it once`, {
  timeout: 120_000,
}, async () => {
  const random = new Random(SEED);
  const stateDir = directory();
  const acknowledged = new Map<string, number>();
  let doubtful: string[] = [];
  current = await startRegistryProcess(stateDir);
  unwrap(await current.client.register("east"));
  unwrap(await current.client.register("west"));
  for (let round = 0; round < ROUNDS; round++) {
    const registry = current;
    const writers = Array.from({ length: WRITERS }, (_, writer) =>
      write(registry, `r${round}-w${writer}`, acknowledged),
    );
    await new Promise((resolve) => setTimeout(resolve, 10 + random.below(60)));
    await registry.end("SIGKILL");
    doubtful = await Promise.all(writers);
    current = await startRegistryProcess(stateDir);
    const listed = unwrap(await current.client.list({ kind: "ServiceExport", cluster: "east" }));
    const found = new Map(listed.items.map(({ metadata }) => [metadata.name, metadata.resourceVersion]));
    for (const [name, revision] of acknowledged) expect(found.get(name), name).toBe(revision);
    for (const name of doubtful) {
      const repeated = unwrap(
        await current.client.apply([exportOf("east", name, "west")], { requestToken: `token-${name}` }),
      );
      acknowledged.set(name, repeated.results[0]?.metadata.resourceVersion ?? -1);
    }
  }
  expect(acknowledged.size).toBeGreaterThan(ROUNDS * WRITERS);
  const records = await auditOf(current);
  const targets = records
    .filter(({ action }) => action === "resource.apply")
    .flatMap((record) => record.targets);
  expect(new Set(targets).size).toBe(targets.length);
  expect(targets).toHaveLength(acknowledged.size);
  expect(records.map(({ revision }) => revision)).toEqual(records.map((_, index) => index + 1));
});
