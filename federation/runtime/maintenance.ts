/** What the command line does to a registry's store while no registry, or another one, serves from it. */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { type Issue, type Problem, problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import type { Vault } from "../registry/vault.ts";
import { openSqliteStore } from "../store/sqlite/sqlite-store.ts";
import { exportRegistry, importRegistry, type Summary } from "./backup.ts";
import { systemClock } from "./clock.ts";
import { parseRegistryConfig, type RegistryConfig } from "./config.ts";
import { FileVault } from "./file-vault.ts";
import { type OpenedStore, openStore } from "./open-store.ts";
import { type Recovered, recoverRegistry } from "./recover.ts";
import { SealedVault, secretSealer } from "./sealer.ts";
import { prepareStateDir } from "./state-dir.ts";

export type Settings = (key: string) => string | undefined;
export type Refused = Problem & { readonly issues?: readonly Issue[] };

export async function exportTo(settings: Settings, file: string): Promise<Result<Summary, Refused>> {
  return withPlace(settings, async (place) => {
    const vault = await vaultOf(settings, place);
    if (!vault.ok) return vault;
    let descriptor: number;
    try {
      // Never over another one, and nobody else's from its first byte on: it holds the keys.
      descriptor = openSync(file, "wx", 0o600);
    } catch (cause) {
      return err(problem("state_unusable", `${file} cannot be made: ${messageOf(cause)}`));
    }
    try {
      const from = { store: place.store, vault: vault.value };
      return await exportRegistry(from, (line) => void writeSync(descriptor, `${line}\n`));
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
  return withPlace(settings, async (place) => {
    const vault = await vaultOf(settings, place);
    return vault.ok ? importRegistry({ store: place.store, vault: vault.value }, text) : vault;
  });
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

type Open = { readonly config: RegistryConfig } & Pick<OpenedStore, "store" | "vault">;

/**
 * Where the keys are: files of the state directory, or, where the settings say what a function seals with
 * (`ISTHMUS_SEAL_SECRET` or `ISTHMUS_SEAL_KMS_KEY`), the table. Keys that lie sealed in it are not overlooked.
 */
async function vaultOf(settings: Settings, { config, vault }: Open): Promise<Result<Vault, Problem>> {
  const secret = settings("ISTHMUS_SEAL_SECRET") || undefined;
  const keyId = settings("ISTHMUS_SEAL_KMS_KEY") || undefined;
  if (secret === undefined && keyId === undefined) {
    const files = new FileVault(config.stateDir);
    const [own, sealed] = [await files.read("root"), await vault?.read("root")];
    if (own.ok && own.value === undefined && sealed?.ok === true && sealed.value !== undefined)
      return err(problem("config_invalid", SEALED));
    return ok(files);
  }
  if (vault === undefined || config.dynamoDb === undefined)
    return err(problem("config_invalid", "keys are sealed in a table only: --store dynamodb"));
  if (secret !== undefined) {
    const sealer = await secretSealer(secret);
    return sealer.ok ? ok(new SealedVault(vault, sealer.value)) : sealer;
  }
  const { createKmsClient, kmsSealer } = await import("./aws-kms.ts");
  const { region, credentials } = config.dynamoDb;
  const endpoint = settings("ISTHMUS_KMS_ENDPOINT") || undefined;
  const client = createKmsClient({
    region,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
  });
  return ok(new SealedVault(vault, kmsSealer(client, keyId ?? "")));
}

const SEALED =
  "the keys lie sealed in the table: set ISTHMUS_SEAL_SECRET or ISTHMUS_SEAL_KMS_KEY as the function that uses it has it";

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
    return await run({ config: config.value, ...opened.value });
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
