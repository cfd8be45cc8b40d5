/**
 * `npm run chaos:disk -- --rounds 40`: SQLite under strace, which makes fsync fail (EIO, ENOSPC) from some moment on.
 * What was acknowledged before, and what is acknowledged after, must be there once after a kill and a start without it.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Random } from "../fuzz/random.ts";
import { type AuditEntry, checkHistory } from "./history.ts";
import { Instances } from "./instances.ts";
import { clientOf, contentOf, Writer } from "./writers.ts";
import { toolOptions } from "../tool-options.ts";

const WRITERS = 4;
const ACTIONS = new Set(["resource.apply", "resource.delete", "cluster.register"]);
const WRITING_MS = 600;

const { rounds, seed } = toolOptions("npm run chaos:disk --", { rounds: 10, seed: 20261125 });
const random = new Random(seed);
if (spawnSync("strace", ["-V"], { stdio: "ignore" }).status !== 0) {
  console.log("skipped: no strace here");
  process.exit(0);
}

/** Every writer's requests end when the disk does; what they saw is judged after a start on a disk that is well. */
async function round(
  directory: string,
  fault: string,
): Promise<{ readonly problems: readonly string[]; readonly writes: number; readonly refused: boolean }> {
  const path = join(directory, "round");
  const plain = await Instances.prepare({ directory: path, store: "sqlite" });
  const first = plain.start();
  const url = await first.url;
  if (url === undefined) throw new Error("the registry did not start");
  const client = clientOf(url, plain.adminToken);
  for (const name of ["east", "west"]) await client.register(name);
  first.child.kill("SIGKILL");
  await first.ended;
  // The first syncs are let through: they belong to opening the store.
  const inject = `inject=fsync,fdatasync:error=${fault}:when=${6 + random.below(40)}+`;
  const wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", inject];
  const faulty = await Instances.prepare({ directory: path, store: "sqlite", wrapper });
  const second = faulty.start();
  const faultyUrl = await second.url;
  if (faultyUrl === undefined) throw new Error("the registry did not start under strace");
  let stop = false;
  const current = clientOf(faultyUrl, faulty.adminToken);
  let clients = [current];
  const writers = Array.from(
    { length: WRITERS },
    (_, id) => new Writer(id, new Random(random.below(2 ** 31)), () => clients),
  );
  const running = Promise.all(writers.map((writer) => writer.run(() => stop)));
  await new Promise((resolve) => setTimeout(resolve, WRITING_MS));
  const refused = !(await current.register("after-the-fault")).ok;
  // strace and what runs under it.
  execFileSync("pkill", ["-KILL", "-P", String(second.child.pid)], { stdio: "ignore" });
  second.child.kill("SIGKILL");
  await second.ended;
  clients = [];
  const third = plain.start();
  const lastUrl = await third.url;
  if (lastUrl === undefined) throw new Error("the registry did not start again");
  const last = clientOf(lastUrl, plain.adminToken);
  clients = [last];
  stop = true;
  await running;
  const audit: AuditEntry[] = [];
  for (let after: number | undefined = 0; after !== undefined; ) {
    const page = await last.audit({ after, limit: 1_000 });
    if (!page.ok) throw new Error(page.error.detail);
    audit.push(...page.value.items);
    after = page.value.next;
  }
  const listed = await last.list({ kind: "ServiceExport", cluster: "east" });
  if (!listed.ok) throw new Error(listed.error.detail);
  const now = performance.now();
  const final = {
    invoked: now,
    returned: now + 1,
    revision: listed.value.revision,
    content: contentOf(listed.value.items),
  };
  const joined = ["east", "west"].map(
    (name) => ({ action: "cluster.register", target: `Cluster/${name}`, invoked: 0, returned: 1 }) as const,
  );
  const doubtful = {
    action: "cluster.register",
    target: "Cluster/after-the-fault",
    invoked: now - 1_000_000,
  } as const;
  const writes = [...joined, doubtful, ...writers.flatMap((writer) => writer.writes)];
  const reads = [...writers.flatMap((writer) => writer.reads), final];
  const problems = checkHistory({ writes, reads, audit, actions: ACTIONS });
  third.child.kill("SIGKILL");
  await third.ended;
  return { problems, writes: writes.length, refused };
}

let failures = 0;
let writes = 0;
let refusals = 0;
for (let index = 0; index < rounds; index++) {
  const directory = mkdtempSync(join(tmpdir(), "isthmus-disk-"));
  const fault = index % 2 === 0 ? "EIO" : "ENOSPC";
  const result = await round(directory, fault);
  rmSync(directory, { recursive: true, force: true });
  writes += result.writes;
  if (result.refused) refusals += 1;
  for (const problem of result.problems.slice(0, 5))
    console.log(`PROBLEM (${fault}, round ${index}) ${problem}`);
  failures += result.problems.length;
}
console.log(
  `sqlite, failing fsync: ${rounds} rounds, ${writes} writes, ${refusals} rounds refused writes after the fault`,
);
console.log(failures === 0 ? "nothing acknowledged was lost, nothing torn" : `${failures} problems`);
process.exit(failures === 0 && refusals > 0 ? 0 : 1);
