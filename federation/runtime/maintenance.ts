/** What the command line does to a registry's store while no registry, or another one, serves from it. */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { type Issue, type Problem, problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { openSqliteStore } from "../store/sqlite/sqlite-store.ts";
import { exportRegistry, importRegistry, type Summary } from "./backup.ts";
import { systemClock } from "./clock.ts";
import { parseRegistryConfig, type RegistryConfig } from "./config.ts";
import { FileVault } from "./file-vault.ts";
import { openStore } from "./open-store.ts";
import { type Recovered, recoverRegistry } from "./recover.ts";
import { prepareStateDir } from "./state-dir.ts";

export type Settings = (key: string) => string | undefined;
export type Refused = Problem & { readonly issues?: readonly Issue[] };

export async function exportTo(settings: Settings, file: string): Promise<Result<Summary, Refused>> {
  return withPlace(settings, async ({ config, store }) => {
    let descriptor: number;
    try {
      // Never over another one, and nobody else's from its first byte on: it holds the keys.
      descriptor = openSync(file, "wx", 0o600);
    } catch (cause) {
      return err(problem("state_unusable", `${file} cannot be made: ${messageOf(cause)}`));
    }
    try {
      const vault = new FileVault(config.stateDir);
      return await exportRegistry({ store, vault }, (line) => void writeSync(descriptor, `${line}\n`));
    } finally {
      closeSync(descriptor);
    }
  });
}

export async function importFrom(settings: Settings, file: string): Promise<Result<Summary, Refused>> {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    return err(problem("file_unreadable", `${file}: ${messageOf(cause)}`));
  }
  return withPlace(settings, ({ config, store }) =>
    importRegistry({ store, vault: new FileVault(config.stateDir) }, text),
  );
}

/** Makes what the store lacks: the table, or the file and its schema. */
export async function migrate(
  settings: Settings,
): Promise<Result<{ readonly store: string; readonly revision: number }, Refused>> {
  const config = parse(settings);
  if (!config.ok) return config;
  if (config.value.dynamoDb !== undefined) {
    const { createClient, createTable } = await import("../store/dynamodb/open.ts");
    try {
      await createTable(createClient(config.value.dynamoDb), config.value.dynamoDb.table);
    } catch (cause) {
      return err(problem("state_unusable", `table ${config.value.dynamoDb.table}: ${messageOf(cause)}`));
    }
  }
  return withPlace(settings, async ({ store }) => {
    const revision = await store.revision();
    if (!revision.ok) return err(problem("state_unusable", "the store cannot be read"));
    return ok({ store: config.value.dynamoDb?.table ?? config.value.stateDir, revision: revision.value });
  });
}

export async function recover(settings: Settings): Promise<Result<Recovered, Refused>> {
  const config = parse(settings);
  if (!config.ok) return config;
  let acknowledged = 0;
  const now = systemClock.now();
  if (config.value.dynamoDb !== undefined)
    return withPlace(settings, ({ store }) => recoverRegistry(store, { acknowledged, now }));
  const opened = openSqliteStore(config.value.stateDir, { onOlder: (revision) => (acknowledged = revision) });
  if (!opened.ok) return opened;
  try {
    return await recoverRegistry(opened.value, { acknowledged, now });
  } finally {
    opened.value.close();
  }
}

type Open = { readonly config: RegistryConfig } & { readonly store: Parameters<typeof recoverRegistry>[0] };

async function withPlace<T>(
  settings: Settings,
  run: (place: Open) => Promise<Result<T, Refused>>,
): Promise<Result<T, Refused>> {
  const config = parse(settings);
  if (!config.ok) return config;
  const unusable = prepareStateDir(config.value.stateDir);
  if (unusable !== undefined) return err(unusable);
  const opened = await openStore(config.value);
  if (!opened.ok) return opened;
  const { store } = opened.value;
  try {
    return await run({ config: config.value, store });
  } finally {
    store.close();
  }
}

function parse(settings: Settings): Result<RegistryConfig, Refused> {
  const config = parseRegistryConfig(settings);
  if (config.ok) return config;
  return err({ ...problem("config_invalid", "the settings are not usable"), issues: config.error });
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
