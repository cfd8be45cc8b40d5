import { createHash } from "node:crypto";
import { createApp } from "../../federation/http/app.ts";
import { type Logger, SILENT_LOGGER } from "../../federation/model/log.ts";
import { Registry } from "../../federation/registry/registry.ts";
import type { FederationState } from "../../federation/registry/state.ts";
import type { RegistryStore } from "../../federation/registry/store.ts";
import { createKeyShelf } from "../../federation/runtime/key-shelf.ts";
import { createMemoryVault } from "./memory-vault.ts";
import { createTrustAuthority } from "../../federation/registry/trust-authority.ts";
import type { WakeupLimits } from "../../federation/registry/wakeups.ts";
import { openSqliteStore } from "../../federation/store/sqlite/sqlite-store.ts";
import {
  createRoot,
  createSigningKey,
  loadRoot,
  loadSigningKey,
  localRootSigner,
} from "../../federation/trust/index.ts";
import { storeOn, tableOf } from "./dynamodb-local.ts";
import { serveOnLambda } from "./lambda-client.ts";
import type { ManualClock } from "./manual-clock.ts";
import { unwrap } from "./pki.ts";
import { RUNTIME } from "./scene-runtime.ts";
import { serveOnWorkerd } from "./workerd-client.ts";

export const ADMIN_TOKEN = "the-bootstrap-admin-token-of-the-scene";
export const FEDERATION = "demo.mesh";

export interface SceneOptions {
  readonly directory: string;
  readonly log?: Logger;
  readonly waiting?: WakeupLimits;
  readonly accepting?: () => boolean;
  /** Instead of one of its own in `directory`. */
  readonly store?: RegistryStore;
}

/** A registry that answers requests, wherever it runs. */
export interface Served {
  /** Only where it runs in this process. */
  readonly registry: Registry;
  readonly store: RegistryStore;
  fetch(request: Request): Response | Promise<Response>;
  /** As the store has it, or the registry where that is here. */
  state(): Promise<FederationState>;
  /** A second instance with the same keys beside this one; where the store is for one alone, the one after a restart. */
  another(): Promise<Served["fetch"]>;
  close(): Promise<void>;
}

const ADMIN_TOKEN_SHA256 = createHash("sha256").update(ADMIN_TOKEN).digest("hex");

/** The whole registry in this process, on the runtime's store. */
export async function serveHere(options: SceneOptions, clock: ManualClock): Promise<Served> {
  const store = options.store ?? (await openSceneStore(options.directory));
  unwrap(await store.found({ federation: FEDERATION, adminTokenSha256: ADMIN_TOKEN_SHA256 }));
  const root = localRootSigner(unwrap(loadRoot(createRoot({ federation: FEDERATION, now: clock.now() }))));
  const key = unwrap(loadSigningKey(createSigningKey().privateKeyPem));
  const shelf = createKeyShelf(createMemoryVault());
  const adminTokenSha256 = ADMIN_TOKEN_SHA256;
  // Each instance has its own, which remembers the signatures that it saw.
  const authorityOf = () =>
    createTrustAuthority({ federation: FEDERATION, adminTokenSha256, root, key, shelf });
  const waiting = options.waiting === undefined ? {} : { waiting: options.waiting };
  const open = async (on: RegistryStore) => {
    const registry = unwrap(
      await Registry.open({ store: on, clock, random: () => 0.5, authority: authorityOf(), ...waiting }),
    );
    const app = createApp({
      registry,
      log: options.log ?? SILENT_LOGGER,
      version: "0.0.0",
      accepting: options.accepting ?? (() => true),
    });
    return { registry, fetch: app.fetch };
  };
  const { registry, fetch } = await open(store);
  return {
    registry,
    store,
    fetch,
    state: async () => registry.state,
    async another() {
      if (!store.shared) await registry.close();
      return (await open(await openSceneStore(options.directory))).fetch;
    },
    close: () => registry.close(),
  };
}

async function openSceneStore(directory: string): Promise<RegistryStore> {
  if (RUNTIME === "node-sqlite") return unwrap(openSqliteStore(directory));
  const { local, table } = await tableOf(directory);
  return storeOn(local, table);
}

/** A registry that is reached by requests only; its state is what its store holds. */
export async function serveElsewhere(directory: string, clock: ManualClock): Promise<Served> {
  const { local, table } = await tableOf(directory);
  const settings = {
    ISTHMUS_FEDERATION: FEDERATION,
    ISTHMUS_ADMIN_TOKEN_SHA256: ADMIN_TOKEN_SHA256,
    ISTHMUS_SEAL_SECRET: Buffer.alloc(32, 7).toString("base64"),
    ISTHMUS_DYNAMODB_TABLE: table,
    ISTHMUS_DYNAMODB_ENDPOINT: local.endpoint,
    ISTHMUS_LOG_LEVEL: "error",
  };
  const store = storeOn(local, table);
  const serve = async (more: Readonly<Record<string, string>>): Promise<Served["fetch"]> =>
    RUNTIME === "lambda-dynamodb"
      ? serveOnLambda(settings, clock)
      : serveOnWorkerd({ ...settings, ...more }, clock);
  return {
    registry: outOfReach(),
    store,
    fetch: await serve({}),
    // In one isolate, where other settings are another instance.
    another: () => serve({ TEST_INSTANCE: "2" }),
    state: async () => unwrap(await store.load()),
    close: async () => {},
  };
}

function outOfReach(): Registry {
  return new Proxy({} as Registry, {
    get() {
      throw new Error(`the registry of ${RUNTIME} is out of reach`);
    },
  });
}
