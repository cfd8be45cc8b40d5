import { type Problem, problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import type { RegistryStore } from "../registry/store.ts";
import { openSqliteStore } from "../store/sqlite/sqlite-store.ts";
import { systemClock } from "./clock.ts";
import type { DynamoDbSettings, RegistryConfig } from "./config.ts";

/** The store that the settings name. */
export async function openStore(config: RegistryConfig): Promise<Result<RegistryStore, Problem>> {
  return config.dynamoDb === undefined ? openSqliteStore(config.stateDir) : openTable(config.dynamoDb);
}

/** Loaded only when it is used: the client is larger than everything else together. */
async function openTable(settings: DynamoDbSettings): Promise<Result<RegistryStore, Problem>> {
  const { createClient, createTable, openDynamoDbStore } = await import("../store/dynamodb/open.ts");
  const client = createClient(settings);
  const tools = { clock: systemClock, random: Math.random, newId: () => crypto.randomUUID() };
  try {
    // Elsewhere than at AWS nobody else makes it.
    if (settings.endpoint !== undefined) await createTable(client, settings.table);
    return ok(openDynamoDbStore(client, settings, tools).store);
  } catch (cause) {
    const detail = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
    return err(problem("state_unusable", `table ${settings.table} cannot be made: ${detail}`));
  }
}
