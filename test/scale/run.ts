/**
 * Longer than most, because it is one list of measurements.
 * `npm run scale -- --clusters 1000`: one federation of 1,000 clusters, 10,000 exports and 100,000 imports, measured at
 * growing sizes: what it costs to register, compile, tell of a change, poll, and hear of news.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createApp } from "../../federation/http/app.ts";
import { SILENT_LOGGER } from "../../federation/model/log.ts";
import type { AppliedResource } from "../../federation/model/resource.ts";
import { DIGEST_MEDIA_TYPE } from "../../federation/model/wire/snapshot-delta.ts";
import { systemSpiffeId, type TrustDomain } from "../../federation/model/spiffe-id.ts";
import type { Clock } from "../../federation/registry/clock.ts";
import { compileSnapshot } from "../../federation/registry/compile-snapshot.ts";
import { Registry } from "../../federation/registry/registry.ts";
import type { RegistryStore } from "../../federation/registry/store.ts";
import { createKeyShelf } from "../../federation/runtime/key-shelf.ts";
import { createMemoryVault } from "../fakes/memory-vault.ts";
import { createTrustAuthority } from "../../federation/registry/trust-authority.ts";
import { openSqliteStore } from "../../federation/store/sqlite/sqlite-store.ts";
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
import { unwrap } from "../fakes/pki.ts";
import { toolOptions } from "../tool-options.ts";

const EXPORTS_PER_CLUSTER = 10;
/** Importers of each export: a hundred imports per cluster. */
const CONSUMERS = 10;
const BATCH = 500;
const FEDERATION = "demo.mesh";

const { clusters: total } = toolOptions("npm run scale --", { clusters: 1_000 });

const clock: Clock = {
  now: () => Date.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return { cancel: () => clearTimeout(timer) };
  },
};

const nameOf = (index: number): string => `c${index}`;

function resourcesOf(index: number, clusters: number): readonly AppliedResource[] {
  const apiVersion = "isthmus.dev/v1alpha1";
  const cluster = nameOf(index);
  const exports = Array.from(
    { length: EXPORTS_PER_CLUSTER },
    (_, service): AppliedResource => ({
      apiVersion,
      kind: "ServiceExport",
      metadata: { cluster, namespace: "shop", name: `s${service}` },
      spec: {
        consumers: Array.from({ length: CONSUMERS }, (_, hop) => ({
          cluster: nameOf((index + 1 + hop) % clusters),
        })),
      },
    }),
  );
  const imports = Array.from({ length: CONSUMERS }, (_, hop) => hop).flatMap((hop) =>
    Array.from({ length: EXPORTS_PER_CLUSTER }, (_, service): AppliedResource => {
      const from = (index - 1 - hop + clusters) % clusters;
      return {
        apiVersion,
        kind: "ServiceImport",
        metadata: { cluster, namespace: "shop", name: `s${service}-of-${nameOf(from)}` },
        spec: { from: { cluster: nameOf(from), namespace: "shop", name: `s${service}` } },
      };
    }),
  );
  return [...exports, ...imports];
}

interface Timed<T> {
  readonly value: T;
  readonly ms: number;
  readonly cpuMs: number;
}

async function timed<T>(run: () => Promise<T> | T): Promise<Timed<T>> {
  const cpu = process.cpuUsage();
  const began = performance.now();
  const value = await run();
  const { user, system } = process.cpuUsage(cpu);
  return { value, ms: performance.now() - began, cpuMs: (user + system) / 1_000 };
}

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

interface Scene {
  readonly registry: Registry;
  readonly fetch: (request: Request) => Promise<Response>;
  readonly credentials: Map<string, Credential>;
}

async function openScene(store: RegistryStore): Promise<Scene> {
  unwrap(await store.found({ federation: FEDERATION, adminTokenSha256: "00".repeat(32) }));
  const root = localRootSigner(unwrap(loadRoot(createRoot({ federation: FEDERATION, now: clock.now() }))));
  const key = unwrap(loadSigningKey(createSigningKey().privateKeyPem));
  const authority = createTrustAuthority({
    federation: FEDERATION,
    adminTokenSha256: "00".repeat(32),
    root,
    key,
    shelf: createKeyShelf(createMemoryVault()),
  });
  const registry = unwrap(await Registry.open({ store, clock, random: Math.random, authority }));
  const app = createApp({ registry, log: SILENT_LOGGER, version: "0" });
  return { registry, fetch: async (request) => app.fetch(request), credentials: new Map() };
}

async function joinOne({ registry, credentials }: Scene, name: string): Promise<void> {
  const { token = "" } = unwrap(await registry.register("ops", name, false));
  const privateKey = createClusterKey();
  const trustDomain = `${name}.${FEDERATION}` as TrustDomain;
  const joined = unwrap(await registry.join({ token, csr: createCsr({ privateKey, trustDomain }) }));
  const ca = unwrap(
    loadClusterCa({ certificatePem: joined.caCertificate, privateKeyPem: privateKeyToPem(privateKey) }),
  );
  credentials.set(
    name,
    issueSvid({ ca, spiffeId: systemSpiffeId(trustDomain, "gateway"), now: clock.now() }),
  );
}

function snapshotRequest(
  { credentials }: Scene,
  name: string,
  headers: Record<string, string> = {},
  signal?: AbortSignal,
): Request {
  const url = `http://registry/v1/clusters/${name}/snapshot`;
  const credential = credentials.get(name);
  if (credential === undefined) throw new TypeError(name);
  const authorization = signMemberRequest({
    credential,
    method: "GET",
    url,
    body: undefined,
    now: clock.now(),
  });
  return new Request(url, {
    headers: { authorization, ...headers },
    ...(signal === undefined ? {} : { signal }),
  });
}

async function measure(clusters: number): Promise<Record<string, number>> {
  const directory = mkdtempSync(join(tmpdir(), "isthmus-scale-"));
  const store = unwrap(openSqliteStore(directory));
  const scene = await openScene(store);
  const { registry } = scene;
  const memory = (): number => {
    globalThis.gc?.();
    return process.memoryUsage().heapUsed / 1_048_576;
  };
  const before = memory();
  const names = Array.from({ length: clusters }, (_, index) => nameOf(index));
  const registered = await timed(async () => {
    for (const name of names) await joinOne(scene, name);
  });
  const services = Array.from({ length: EXPORTS_PER_CLUSTER }, (_, service) => ({
    namespace: "shop",
    name: `s${service}`,
    ports: [{ port: 80, protocol: "http" as const }],
  }));
  for (const name of names) unwrap(await registry.reportServices("ops", name, services));
  const resources = names.flatMap((_, index) => resourcesOf(index, clusters));
  const applied = await timed(async () => {
    for (let at = 0; at < resources.length; at += BATCH)
      unwrap(await registry.apply("ops", { resources: resources.slice(at, at + BATCH) }));
  });
  const heap = memory() - before;
  // Compile: each of a hundred clusters once.
  const state = registry.state;
  const compiles: number[] = [];
  for (const name of names.slice(0, 100)) {
    const cluster = state.clusters.get(name);
    if (cluster === undefined) continue;
    const { cpuMs } = await timed(() => compileSnapshot(state, cluster, registry.authority.root));
    compiles.push(cpuMs);
  }
  // One change, and what it costs one member to hear of it.
  const watched = nameOf(1);
  const whole = await scene.fetch(snapshotRequest(scene, watched));
  const etag = whole.headers.get("etag") ?? "";
  const wholeBytes = (await whole.text()).length;
  const port = { ...services[0], ports: [{ port: 81, protocol: "http" as const }] } as (typeof services)[0];
  const changed = await timed(async () =>
    unwrap(await registry.reportServices("ops", nameOf(0), [port, ...services.slice(1)])),
  );
  const delta = await scene.fetch(
    snapshotRequest(scene, watched, { "if-none-match": etag, "a-im": "isthmus-delta" }),
  );
  const deltaBytes = (await delta.text()).length;
  if (delta.status !== 226) throw new Error(`no delta: ${delta.status}`);
  // Polls without news.
  const known = delta.headers.get("etag") ?? "";
  const polls = 500;
  const requests = Array.from({ length: polls }, () =>
    snapshotRequest(scene, watched, { "if-none-match": known, prefer: "wait=0" }),
  );
  const polled = await timed(async () => {
    for (const request of requests) {
      const { status } = await scene.fetch(request);
      if (status !== 304) throw new Error(`a poll without news answered ${status}`);
    }
  });
  const result = {
    clusters,
    resources: resources.length,
    "register and join, s": registered.ms / 1_000,
    "per cluster, ms of CPU": registered.cpuMs / clusters,
    "apply per resource, ms of CPU": applied.cpuMs / resources.length,
    "heap per cluster, KiB": (heap * 1_024) / clusters,
    "compile, ms of CPU (worst of 100)": Math.max(...compiles),
    "compile, ms of CPU (mean)": compiles.reduce((sum, ms) => sum + ms, 0) / compiles.length,
    "one change, ms of CPU": changed.cpuMs,
    "snapshot, bytes": wholeBytes,
    "delta of one change, bytes": deltaBytes,
    "poll without news, ms of CPU": polled.cpuMs / polls,
    ...(await propagation(scene, names, services, { clusters: Math.min(100, clusters - 1), each: 10 })),
    ...(await propagation(scene, names, services, { clusters: clusters - 1, each: 1 })),
  };
  await registry.close();
  rmSync(directory, { recursive: true, force: true });
  return result;
}

/** A hub's change that a tenth of the clusters notice, each with ten members that wait; then one that all notice. */
async function propagation(
  scene: Scene,
  names: readonly string[],
  services: readonly object[],
  crowd: { readonly clusters: number; readonly each: number },
): Promise<Record<string, number>> {
  const { registry } = scene;
  const [hub = ""] = names;
  const others = names.slice(1, crowd.clusters + 1);
  unwrap(
    await registry.reportServices("ops", hub, [
      ...services,
      { namespace: "shop", name: "hub", ports: [{ port: 80, protocol: "http" }] },
    ] as never),
  );
  const hubExport = (workload: string): AppliedResource => ({
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "ServiceExport",
    metadata: { cluster: hub, namespace: "shop", name: "hub" },
    spec: { consumers: others.map((cluster) => ({ cluster, workloads: [`ns/shop/sa/${workload}`] })) },
  });
  unwrap(await registry.apply("ops", { resources: [hubExport("a")] as never }));
  for (let at = 0; at < others.length; at += BATCH) {
    const imports = others.slice(at, at + BATCH).map((cluster) => ({
      apiVersion: "isthmus.dev/v1alpha1",
      kind: "ServiceImport",
      metadata: { cluster, namespace: "shop", name: "hub" },
      spec: { from: { cluster: hub } },
    }));
    unwrap(await registry.apply("ops", { resources: imports as never }));
  }
  const etags = new Map<string, string>();
  for (const name of others) {
    const reply = await scene.fetch(snapshotRequest(scene, name, { accept: DIGEST_MEDIA_TYPE }));
    etags.set(name, reply.headers.get("etag") ?? "");
    await reply.arrayBuffer();
  }
  const heard: number[] = [];
  let began = 0;
  const members = others.flatMap((name) => Array.from({ length: crowd.each }, () => name));
  const waiting = members.map(async (name) => {
    const known = etags.get(name) ?? "";
    const headers = {
      accept: DIGEST_MEDIA_TYPE,
      "if-none-match": known,
      prefer: "wait=60",
      "a-im": "isthmus-delta",
    };
    const reply = await scene.fetch(snapshotRequest(scene, name, headers));
    const text = await reply.text();
    if (reply.status !== 226 || text.length > 5_000)
      throw new Error(`${name}: ${reply.status}, ${text.length} bytes`);
    heard.push(performance.now() - began);
  });
  while (registry.wakeups.waiting < members.length) await new Promise((resolve) => setTimeout(resolve, 10));
  began = performance.now();
  const all = await timed(async () => {
    const changed = await timed(async () =>
      unwrap(await registry.apply("ops", { resources: [hubExport("b")] as never })),
    );
    await Promise.all(waiting);
    return changed;
  });
  heard.sort((a, b) => a - b);
  const who = `${members.length} members of ${others.length} clusters`;
  return {
    [`a change for ${who}, ms of CPU to write it`]: all.value.cpuMs,
    [`heard by ${who}, ms of CPU until the last`]: all.cpuMs,
    [`heard by ${who}, p50 ms`]: percentile(heard, 0.5),
    [`heard by ${who}, p99 ms`]: percentile(heard, 0.99),
  };
}

const sizes = [...new Set([total / 10, total / 2, total])].filter((size) => size > CONSUMERS + 1);
const results = [];
for (const size of sizes) {
  const result = await measure(size);
  results.push(result);
  for (const [name, value] of Object.entries(result))
    process.stdout.write(`${name}: ${Number(value.toFixed(3))}\n`);
  process.stdout.write("\n");
}
