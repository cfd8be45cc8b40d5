/**
 * `npm run cost`: what a serverless registry costs a month. Operations are counted, on DynamoDB Local, by what the store
 * really sends and what the table says it consumed; only prices and habits (below) are assumed.
 */
import { createApp } from "../../federation/http/app.ts";
import { SILENT_LOGGER } from "../../federation/model/log.ts";
import type { AppliedResource } from "../../federation/model/resource.ts";
import { systemSpiffeId, type TrustDomain } from "../../federation/model/spiffe-id.ts";
import type { Clock } from "../../federation/registry/clock.ts";
import { MemoryArchive } from "../../federation/registry/snapshot-archive.ts";
import { Registry } from "../../federation/registry/registry.ts";
import { createKeyShelf } from "../../federation/runtime/key-shelf.ts";
import { createMemoryVault } from "../fakes/memory-vault.ts";
import { createTrustAuthority } from "../../federation/registry/trust-authority.ts";
import { openDynamoDbStore } from "../../federation/store/dynamodb/open.ts";
import {
  createClusterKey,
  createCsr,
  createRoot,
  createSigningKey,
  type Credential,
  issueSvid,
  loadClusterCa,
  loadRoot,
  loadSigningKey,
  localRootSigner,
  privateKeyToPem,
  signMemberRequest,
} from "../../federation/trust/index.ts";
import { REGION, startDynamoDbLocal } from "../fakes/dynamodb-local.ts";
import { unwrap } from "../fakes/pki.ts";

/** US dollars, us-east-1, on demand, 2026. */
const PRICE = {
  readUnits: 0.125 / 1e6,
  writeUnits: 0.625 / 1e6,
  lambdaRequests: 0.2 / 1e6,
  lambdaGbSeconds: 0.0000133334,
  egressBytes: 0.09 / 1e9,
} as const;
/** Of an installation: a gateway and an agent per cluster, ten changes a day that five clusters notice. */
const HABITS = {
  members: 2,
  pollS: 5,
  heartbeatS: 10,
  changesPerClusterDay: 10,
  noticedBy: 5,
  coldStartsPerInstanceDay: 24,
} as const;
/** Billed per request at 512 MB: our CPU time at a third of a core, and one round trip to the table. */
const BILLED_MS = 8;
const MEMORY_GB = 0.5;
const MONTH_S = 30 * 24 * 3_600;
const ANSWER_BYTES = 400;
/** Checkpoint of one cluster with ten exports and a hundred imports, packed; from `npm run scale`. */
const CHECKPOINT_BYTES_PER_CLUSTER = 4_000;

interface Consumed {
  calls: number;
  reads: number;
  writes: number;
}

const local = await startDynamoDbLocal();
let meter: Consumed = { calls: 0, reads: 0, writes: 0 };
const WRITES = new Set(["PutItemCommand", "UpdateItemCommand", "DeleteItemCommand", "BatchWriteItemCommand"]);
local.client.middlewareStack.add(
  (next, context) => async (args) => {
    Object.assign(args.input, { ReturnConsumedCapacity: "TOTAL" });
    const result = await next(args);
    const consumed: unknown = Reflect.get(result.output, "ConsumedCapacity");
    const units = (Array.isArray(consumed) ? consumed : [consumed]).reduce(
      (sum: number, one: { readonly CapacityUnits?: number } | undefined) => sum + (one?.CapacityUnits ?? 0),
      0,
    );
    meter.calls += 1;
    // DynamoDB Local does not count transactions as AWS does: two units for each KB of each item.
    if (context.commandName === "TransactWriteItemsCommand") meter.writes += transactionUnits(args.input);
    else if (WRITES.has(context.commandName ?? "")) meter.writes += units;
    else meter.reads += units;
    return result;
  },
  { step: "initialize" },
);

function transactionUnits(input: object): number {
  const items = Reflect.get(input, "TransactItems") as readonly {
    readonly Put?: { readonly Item?: Record<string, { readonly B?: Uint8Array; readonly S?: string }> };
  }[];
  return items.reduce((sum, { Put }) => {
    const values = Object.entries(Put?.Item ?? {});
    const bytes = values.reduce(
      (total, [name, { B, S }]) => total + name.length + (B?.length ?? S?.length ?? 8),
      0,
    );
    return sum + 2 * Math.max(1, Math.ceil(bytes / 1_024));
  }, 0);
}

async function count(run: () => Promise<unknown>): Promise<Consumed> {
  meter = { calls: 0, reads: 0, writes: 0 };
  await run();
  return meter;
}

let now = Date.now();
const clock: Clock = {
  now: () => now,
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return { cancel: () => clearTimeout(timer) };
  },
};
const table = await local.createTable();
const place = { table, region: REGION, endpoint: local.endpoint };
const { store, archive } = openDynamoDbStore(local.client, place, {
  clock,
  random: Math.random,
  newId: () => crypto.randomUUID(),
});
const federation = "demo.mesh";
const adminTokenSha256 = "00".repeat(32);
unwrap(await store.found({ federation, adminTokenSha256 }));
const root = localRootSigner(unwrap(loadRoot(createRoot({ federation, now }))));
const authority = createTrustAuthority({
  shelf: createKeyShelf(createMemoryVault()),
  federation,
  adminTokenSha256,
  root,
  key: unwrap(loadSigningKey(createSigningKey().privateKeyPem)),
});
const deps = { store, clock, random: Math.random, authority };
const registry = unwrap(await Registry.open({ ...deps, archive: new MemoryArchive(archive) }));
const app = createApp({ registry, log: SILENT_LOGGER, version: "0", waits: false });

const named = (cluster: string) => ({ cluster, namespace: "shop", name: "cart" });
const LINK = [
  {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "ServiceExport",
    metadata: named("east"),
    spec: { consumers: [{ cluster: "west" }] },
  },
  {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "ServiceImport",
    metadata: named("west"),
    spec: { from: { cluster: "east" } },
  },
] as const satisfies readonly AppliedResource[];

async function join(name: string): Promise<Credential> {
  const { token = "" } = unwrap(await registry.register("ops", name, false));
  const privateKey = createClusterKey();
  const trustDomain = `${name}.${federation}` as TrustDomain;
  const joined = unwrap(await registry.join({ token, csr: createCsr({ privateKey, trustDomain }) }));
  const ca = unwrap(
    loadClusterCa({ certificatePem: joined.caCertificate, privateKeyPem: privateKeyToPem(privateKey) }),
  );
  return issueSvid({ ca, spiffeId: systemSpiffeId(trustDomain, "gateway"), now });
}

async function send(
  credential: Credential,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
) {
  const url = `http://registry${path}`;
  const text = body === undefined ? undefined : JSON.stringify(body);
  const authorization = signMemberRequest({ credential, method, url, body: text, now });
  const type = text === undefined ? {} : { "content-type": "application/json" };
  const init = {
    method,
    headers: { authorization, ...type, ...headers },
    ...(text === undefined ? {} : { body: text }),
  };
  const reply = await app.fetch(new Request(url, init));
  if (reply.status >= 400) throw new Error(await reply.text());
  return reply;
}

const east = await join("east");
const west = await join("west");
const services = [{ namespace: "shop", name: "cart", ports: [{ port: 80, protocol: "http" as const }] }];
await send(east, "PUT", "/v1/clusters/east/services", { services });
const poll = (headers: Record<string, string>) =>
  send(west, "GET", "/v1/clusters/west/snapshot", undefined, headers);
const etag = (await poll({})).headers.get("etag") ?? "";
const report = (state: object) =>
  send(west, "PUT", "/v1/clusters/west/members/gateway-1", {
    role: "gateway",
    version: "0",
    state: "applied",
    listeners: [],
    tunnels: [],
    ...state,
  });
const quiet = await count(() => poll({ "if-none-match": etag }));
const heartbeat = await count(async () => {
  now += 20_000;
  await report({ appliedRevision: 4 });
});
const repeated = await count(() => {
  now += 10_000;
  return report({ appliedRevision: 4 });
});
const change = await count(() =>
  registry.apply("ops", {
    resources: [...LINK],
    requestToken: "cost-change-1",
  }),
);
const news = await count(() => poll({ "if-none-match": etag, "a-im": "isthmus-delta" }));
local.stop();

const rows: readonly (readonly [string, Consumed])[] = [
  ["poll without news", quiet],
  ["poll with news (first instance: compile, sign, store)", news],
  ["heartbeat that is written", heartbeat],
  ["heartbeat that repeats the last", repeated],
  ["change (export and import, with a request token)", change],
];
console.log("| Operation | Calls | Read units | Write units |\n|---|---|---|---|");
for (const [name, { calls, reads, writes }] of rows)
  console.log(`| ${name} | ${calls} | ${reads} | ${writes} |`);

function month(clusters: number) {
  const { members, pollS, heartbeatS, changesPerClusterDay, noticedBy, coldStartsPerInstanceDay } = HABITS;
  const polls = (clusters * members * MONTH_S) / pollS;
  const heartbeats = (clusters * members * MONTH_S) / heartbeatS;
  const changes = clusters * changesPerClusterDay * 30;
  const told = changes * noticedBy * members;
  const requests = polls + heartbeats + changes;
  const perSecond = requests / MONTH_S;
  const instances = Math.max(1, Math.ceil((perSecond * BILLED_MS) / 1_000));
  // Every second heartbeat repeats the last one within fifteen seconds and is not written.
  const coldReads =
    (instances * coldStartsPerInstanceDay * 30 * clusters * CHECKPOINT_BYTES_PER_CLUSTER) / 4_096;
  // Every instance reads every change once.
  const followed = changes * instances;
  const reads = polls * quiet.reads + told * news.reads + heartbeats * quiet.reads + followed + coldReads;
  const writes =
    (heartbeats / 2) * heartbeat.writes + changes * change.writes + changes * noticedBy * news.writes;
  const table = reads * PRICE.readUnits + writes * PRICE.writeUnits;
  const lambda =
    requests * PRICE.lambdaRequests + (requests * BILLED_MS * MEMORY_GB * PRICE.lambdaGbSeconds) / 1_000;
  const egress = requests * ANSWER_BYTES * PRICE.egressBytes;
  return {
    clusters,
    requests,
    perSecond,
    instances,
    reads,
    writes,
    table,
    lambda,
    egress,
    total: table + lambda + egress,
  };
}

const millions = (value: number): string => `${(value / 1e6).toFixed(value < 1e7 ? 1 : 0)} M`;
const dollars = (value: number): string =>
  value < 10 ? value.toFixed(2) : Math.round(value).toLocaleString("en");
console.log(
  "\n| Clusters | Requests | per second | Instances | Read units | Write units | Table $ | Function $ | Egress $ | Total $ |",
);
console.log("|---|---|---|---|---|---|---|---|---|---|");
for (const clusters of [10, 100, 1_000, 10_000]) {
  const m = month(clusters);
  console.log(
    `| ${clusters.toLocaleString("en")} | ${millions(m.requests)} | ${m.perSecond.toFixed(0)} | ${m.instances} | ${millions(m.reads)} | ${millions(m.writes)} | ${dollars(m.table)} | ${dollars(m.lambda)} | ${dollars(m.egress)} | ${dollars(m.total)} |`,
  );
}
process.exit(0);
