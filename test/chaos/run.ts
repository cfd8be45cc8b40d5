/**
 * `npm run chaos -- --store sqlite|dynamodb --rounds 200`: 8 writers, two registry instances, `kill -9` at random
 * moments; then everything that was acknowledged must be there once, in an order that explains what everybody saw.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RegistryClient } from "../../federation/cli/registry-client.ts";
import { startDynamoDbLocal } from "../fakes/dynamodb-local.ts";
import { Random } from "../fuzz/random.ts";
import { checkHistory, type AuditEntry } from "./history.ts";
import { type Instance, Instances, type StoreName } from "./instances.ts";
import { joinAs, snapshotOf } from "./member.ts";
import { clientOf, contentOf, serviceNames, Writer } from "./writers.ts";
import { toolOptions } from "../tool-options.ts";

const WRITERS = 8;
/** Between two kills at most; an instance with the AWS client takes longer to serve. */
const PAUSE_MS = { sqlite: 300, dynamodb: 700 } as const;
const ACTIONS = new Set(["resource.apply", "resource.delete", "cluster.register"]);

const { store, rounds, seed } = toolOptions("npm run chaos --", {
  store: ["sqlite", "dynamodb"] as const satisfies readonly StoreName[],
  rounds: 20,
  seed: 20261125,
});
const random = new Random(seed);
const directory = mkdtempSync(join(tmpdir(), "isthmus-chaos-"));
const dynamoDb = store === "dynamodb" ? await startDynamoDbLocal() : undefined;
const alive = new Map<Instance, RegistryClient>();

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits for it to serve, in the background. */
function watch(instance: Instance, token: () => string): Promise<boolean> {
  void instance.ended.then(() => alive.delete(instance));
  return instance.url.then((url) => {
    if (url === undefined) return false;
    alive.set(instance, clientOf(url, token()));
    return true;
  });
}

async function main(): Promise<number> {
  const instances = await Instances.prepare({
    directory,
    store,
    ...(dynamoDb === undefined ? {} : { dynamoDb }),
  });
  const token = (): string => instances.adminToken;
  const first = instances.start();
  await watch(first, token);
  const client = alive.get(first);
  if (client === undefined) throw new Error("the registry did not start");
  const [east, west] = [await joinAs(client, "east"), await joinAs(client, "west")];
  await east.reportServices(serviceNames(WRITERS));
  // On SQLite the second one waits for the first one's lock.
  const pair = [first, instances.start()];
  void watch(pair[1] as Instance, token);
  let stop = false;
  const clients = (): readonly RegistryClient[] => [...alive.values()];
  const writers = Array.from(
    { length: WRITERS },
    (_, id) => new Writer(id, new Random(random.below(2 ** 31)), clients),
  );
  const running = writers.map((writer) => writer.run(() => stop));
  const failed = Promise.all(running).then(() => undefined);
  const began = performance.now();
  for (let round = 1; round <= rounds; round++) {
    await Promise.race([sleep(20 + random.below(PAUSE_MS[store])), failed]);
    // One of those that serve: on SQLite there is one, with DynamoDB sometimes both.
    const victims = [...alive.keys()];
    const chosen =
      store === "dynamodb" && random.chance(5)
        ? victims
        : victims.slice(random.below(victims.length) || 0).slice(0, 1);
    for (const victim of chosen) {
      alive.delete(victim);
      victim.child.kill("SIGKILL");
      await victim.ended;
      pair[pair.indexOf(victim)] = instances.start();
    }
    for (const [index, instance] of pair.entries()) {
      if (alive.has(instance)) continue;
      // A standby that waited in vain for the lock is started again, as a supervisor does.
      const current =
        instance.child.exitCode === null && instance.child.signalCode === null ? instance : instances.start();
      pair[index] = current;
      void watch(current, token);
    }
    while (alive.size === 0) {
      await sleep(10);
      for (const [index, instance] of pair.entries()) {
        if (instance.child.exitCode === null && instance.child.signalCode === null) continue;
        pair[index] = instances.start();
        void watch(pair[index], token);
      }
    }
    if (round % 20 === 0) {
      const acknowledged = writers.reduce((sum, writer) => sum + writer.writes.length, 0);
      console.log(
        `round ${round}: ${acknowledged} writes, ${Math.round((performance.now() - began) / 1_000)} s`,
      );
    }
  }
  stop = true;
  await failed;
  const last = clients()[0];
  if (last === undefined) throw new Error("no instance is left");
  const problems = await judge(last, writers, west);
  for (const instance of pair) instance.child.kill("SIGKILL");
  return problems;
}

async function judge(
  client: RegistryClient,
  writers: readonly Writer[],
  west: Awaited<ReturnType<typeof joinAs>>,
): Promise<number> {
  const audit: AuditEntry[] = [];
  for (let after: number | undefined = 0; after !== undefined; ) {
    const page = await client.audit({ after, limit: 1_000 });
    if (!page.ok) throw new Error(page.error.detail);
    audit.push(...page.value.items);
    after = page.value.next;
  }
  const listed = await client.list({ kind: "ServiceExport", cluster: "east" });
  if (!listed.ok) throw new Error(listed.error.detail);
  const content = contentOf(listed.value.items);
  const now = performance.now();
  const final = { invoked: now, returned: now + 1, revision: listed.value.revision, content };
  // The two that joined before anything else.
  const joined = ["east", "west"].map(
    (name) => ({ action: "cluster.register", target: `Cluster/${name}`, invoked: 0, returned: 1 }) as const,
  );
  const writes = [...joined, ...writers.flatMap((writer) => writer.writes)];
  const reads = [...writers.flatMap((writer) => writer.reads), final];
  const problems = [...checkHistory({ writes, reads, audit, actions: ACTIONS })];
  problems.push(...(await snapshotProblems(client, west, content)));
  const doubtful = writes.filter(({ returned }) => returned === undefined).length;
  console.log(
    `${store}: ${rounds} rounds, ${writes.length - doubtful} acknowledged writes, ${doubtful} in doubt, ${reads.length} reads, ${audit.length} revisions`,
  );
  for (const problem of problems.slice(0, 20)) console.log(`PROBLEM ${problem}`);
  console.log(
    problems.length === 0
      ? "nothing lost, nothing torn, one order explains all"
      : `${problems.length} problems`,
  );
  return problems.length;
}

/** West imports everything that is exported now, in one change: its snapshot must have just that. */
async function snapshotProblems(
  client: RegistryClient,
  west: Awaited<ReturnType<typeof joinAs>>,
  content: ReadonlyMap<string, string>,
): Promise<readonly string[]> {
  const names = [...content.keys()].map((target) => target.split("/").at(-1) ?? "");
  const applied = await client.apply(
    names.map((name) => ({
      apiVersion: "isthmus.dev/v1alpha1",
      kind: "ServiceImport",
      metadata: { cluster: "west", namespace: "shop", name },
      spec: { from: { cluster: "east" } },
    })),
  );
  if (!applied.ok) return [`imports: ${applied.error.detail}`];
  const snapshot = await snapshotOf(west, client.url);
  const seen = new Map(
    snapshot.imports.map(({ name, workloads }) => [
      `ServiceExport/east/shop/${name}`,
      String(workloads[0]).replace("ns/shop/sa/", ""),
    ]),
  );
  return [...content].flatMap(([target, value]) =>
    seen.get(target) === value ? [] : [`the snapshot has ${target} as ${seen.get(target)}, not ${value}`],
  );
}

let problems = 1;
try {
  problems = await main();
} finally {
  for (const instance of alive.keys()) instance.child.kill("SIGKILL");
  dynamoDb?.stop();
  rmSync(directory, { recursive: true, force: true });
}
process.exit(problems === 0 ? 0 : 1);
