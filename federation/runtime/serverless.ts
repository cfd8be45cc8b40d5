import { type Answered, createApp } from "../http/app.ts";
import { createLogger, type Logger } from "../model/log.ts";
import { type Problem, problem, PROBLEMS } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { VERSION } from "../model/version.ts";
import type { Authority } from "../registry/authority.ts";
import type { Clock } from "../registry/clock.ts";
import { type MemberDirectory, openMemberDirectory } from "../registry/member-directory.ts";
import { Registry } from "../registry/registry.ts";
import { MemoryArchive } from "../registry/snapshot-archive.ts";
import type { FederationState } from "../registry/state.ts";
import type { RegistryStore } from "../registry/store.ts";
import { createTrustAuthority } from "../registry/trust-authority.ts";
import { createClient, openDynamoDbStore } from "../store/dynamodb/open.ts";
import { createKmsClient, kmsRootKey, kmsSealer } from "./aws-kms.ts";
import { InstanceFigures } from "./instance-figures.ts";
import { createKeyShelf } from "./key-shelf.ts";
import { openKeys } from "./keys.ts";
import { SealedVault, type Sealer, secretSealer } from "./sealer.ts";
import { parseServerlessConfig, type ServerlessConfig } from "./serverless-config.ts";

export interface ServerlessTools {
  readonly get: (key: string) => string | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  readonly newId: () => string;
  readonly write: (line: string) => void;
}

export interface ServerlessRegistry {
  fetch(request: Request): Promise<Response>;
  /** Cleans up; called now and then, and nothing depends on when. */
  scheduled(): Promise<void>;
}

/** Of what an isolate has (128 MB), most belongs to the state; the table has the rest. */
const ARCHIVE_CHARACTERS = 16 * 1024 * 1024;

interface Ground {
  readonly store: RegistryStore;
  readonly authority: Authority;
  readonly members: MemberDirectory;
  readonly archive: MemoryArchive;
}

/**
 * The registry where instances come and go, and a request's I/O is its own: each request gets a registry of its own over
 * the state that the last one left. What is kept between requests are plain values and never a promise, because workerd
 * lets no request wait for another one's.
 */
export function createServerless(tools: ServerlessTools): ServerlessRegistry {
  const config = parseServerlessConfig(tools.get);
  const log = createLogger(tools.write, tools.clock.now, config.ok ? config.value.logLevel : "info").with({
    role: "registry",
  });
  const figures = new InstanceFigures(tools.clock.now());
  let last: Answered | undefined;
  const app = createApp({ log, version: VERSION, waits: false, onAnswered: (answered) => (last = answered) });
  let ground: Ground | undefined;
  let state: FederationState | undefined;
  const open = async (): Promise<Result<Registry, Problem>> => {
    if (!config.ok)
      return err(
        problem("config_invalid", config.error.map(({ path, message }) => `${path}: ${message}`).join("; ")),
      );
    const opened = ground === undefined ? await layGround(config.value, tools, figures) : ok(ground);
    if (!opened.ok) return opened;
    ground = opened.value;
    const { clock, random } = tools;
    const registry = await Registry.open({
      ...ground,
      clock,
      random,
      ...(state === undefined ? {} : { state }),
    });
    return registry.ok ? registry : err(registry.error.problem);
  };
  return {
    async fetch(request) {
      const registry = await open().catch((cause: unknown) => err(problem("internal", String(cause))));
      if (!registry.ok) return unopened(registry.error, log);
      const began = tools.clock.now();
      const response = await app.fetch(request, registry.value);
      state = registry.value.state;
      const now = tools.clock.now();
      if (last !== undefined) figures.answered(last, now - began);
      const line = figures.flush(now, { Revision: state.revision, Clusters: state.clusters.size });
      if (line !== undefined) tools.write(line);
      return response;
    },
    async scheduled() {
      const registry = await open();
      if (!registry.ok) return void unopened(registry.error, log);
      const done = await registry.value.maintain({ makesKeys: true });
      if (!done.ok) log.warn("not_maintained", { detail: done.error.problem.detail });
      state = registry.value.state;
    },
  };
}

async function layGround(
  config: ServerlessConfig,
  tools: ServerlessTools,
  figures: InstanceFigures,
): Promise<Result<Ground, Problem>> {
  const { federation, table, seal, rootKmsKey, kmsEndpoint } = config;
  const { endpoint: _tableEndpoint, ...place } = table;
  const kms = createKmsClient({ ...place, ...(kmsEndpoint === undefined ? {} : { endpoint: kmsEndpoint }) });
  const sealer: Result<Sealer, Problem> =
    seal.kind === "kms" ? ok(kmsSealer(kms, seal.keyId)) : await secretSealer(seal.secret);
  if (!sealer.ok) return sealer;
  const { store, vault, archive } = openDynamoDbStore(
    createClient(table, (cost) => figures.charged(cost)),
    table,
    tools,
  );
  const sealed = new SealedVault(vault, sealer.value);
  const keys = await openKeys({
    vault: sealed,
    store,
    federation,
    now: tools.clock.now(),
    adminTokenSha256: () => ok(config.adminTokenSha256),
    ...(rootKmsKey === undefined ? {} : { rootKey: kmsRootKey(kms, rootKmsKey) }),
  });
  if (!keys.ok) return keys;
  const { root, signing, foundation } = keys.value;
  // The environment's token counts, so that a lost one can be replaced without touching the table.
  const { adminTokenSha256 } = config;
  return ok({
    store,
    authority: createTrustAuthority({
      ...foundation,
      adminTokenSha256,
      root,
      key: signing,
      shelf: createKeyShelf(sealed),
    }),
    members: openMemberDirectory(store, tools.clock, []),
    archive: new MemoryArchive(archive, ARCHIVE_CHARACTERS),
  });
}

/** Why it does not run is for its operator's log, and none of a caller's business. */
function unopened({ name, detail }: Problem, log: Logger): Response {
  log.error("not_open", { code: PROBLEMS[name].code, detail });
  const { code, title, fix } = PROBLEMS.store_unavailable;
  const body = {
    type: `urn:isthmus:problem:${code}`,
    title,
    status: 503,
    detail: "the registry cannot start; its log says why",
    code,
    fix,
  };
  const headers = {
    "content-type": "application/problem+json",
    "retry-after": "5",
    "cache-control": "no-store",
  };
  return new Response(JSON.stringify(body), { status: 503, headers });
}
