import { type Problem, problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { MemoryArchive } from "../registry/snapshot-archive.ts";
import type { TableUnits } from "../registry/measured-store.ts";
import type { RegistryStore } from "../registry/store.ts";
import { openSqliteStore } from "../store/sqlite/sqlite-store.ts";
import type { Vault } from "../registry/vault.ts";
import { systemClock } from "./clock.ts";
import type { DynamoDbSettings, RegistryConfig } from "./config.ts";

/** The store that the settings name. */
export async function openStore(config: RegistryConfig): Promise<Result<OpenedStore, Problem>> {
  if (config.dynamoDb !== undefined) return openTable(config.dynamoDb);
  const store = openSqliteStore(config.stateDir);
  return store.ok ? ok({ store: store.value, archive: new MemoryArchive() }) : store;
}

export interface OpenedStore {
  readonly store: RegistryStore;
  readonly archive: MemoryArchive;
  /** What the table charged so far; absent where nobody charges. */
  readonly units?: () => TableUnits;
  /** Where registries without a disk keep their keys, sealed; only a table has it. */
  readonly vault?: Vault;
}

/** Loaded only when it is used: the client is larger than everything else together. */
async function openTable(settings: DynamoDbSettings): Promise<Result<OpenedStore, Problem>> {
  const { createClient, createTable, openDynamoDbStore } = await import("../store/dynamodb/open.ts");
  const units = { read: 0, write: 0, retries: 0 };
  const client = createClient(settings, (cost) => {
    units.read += cost.read;
    units.write += cost.write;
    units.retries += cost.retries;
  });
  const tools = { clock: systemClock, random: Math.random, newId: () => crypto.randomUUID() };
  try {
    // Elsewhere than at AWS nobody else makes it.
    if (settings.endpoint !== undefined) await createTable(client, settings.table);
    const { store, archive, vault } = openDynamoDbStore(client, settings, tools);
    return ok({ store, archive: new MemoryArchive(archive), units: () => units, vault });
  } catch (cause) {
    const detail = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
    return err(problem("state_unusable", `table ${settings.table} cannot be made: ${detail}`));
  }
}
