import { DatabaseSync } from "node:sqlite";
import { chmodSync, closeSync, openSync } from "node:fs";
import { type Problem, problem } from "../../model/problem.ts";
import { err, ok, type Result } from "../../model/result.ts";
import { APPLICATION_ID, MIGRATIONS, SCHEMA, SCHEMA_VERSION } from "./schema.ts";

/** A predecessor that is on its way out gets this long to let go of the file. */
const LOCK_WAIT_MS = 5_000;

/**
 * Opens the one database of this registry, alone: the exclusive lock goes with the process, whatever kills it, so that
 * two registries never serve one state directory. WAL with `synchronous=FULL`: with NORMAL, power loss takes
 * acknowledged writes.
 */
export function openDatabase(path: string, lockWaitMs = LOCK_WAIT_MS): Result<DatabaseSync, Problem> {
  let database: DatabaseSync | undefined;
  try {
    // Made by us and not by SQLite, so that nobody else can ever read it.
    closeSync(openSync(path, "a", 0o600));
    chmodSync(path, 0o600);
    database = new DatabaseSync(path, { timeout: lockWaitMs });
    database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
    // Takes the exclusive lock now, rather than at the first write.
    database.exec("BEGIN IMMEDIATE; COMMIT;");
    const unusable = prepare(database, path);
    if (unusable === undefined) return ok(database);
    database.close();
    return err(unusable);
  } catch (cause) {
    database?.close();
    return err(openProblem(path, cause));
  }
}

function prepare(database: DatabaseSync, path: string): Problem | undefined {
  const application = pragma(database, "application_id");
  const version = pragma(database, "user_version");
  if (application === 0 && version === 0 && isEmpty(database)) {
    database.exec(
      `BEGIN; ${SCHEMA} PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT;`,
    );
    return undefined;
  }
  if (application !== APPLICATION_ID) return problem("state_unusable", `${path} is not a registry's store`);
  if (version !== SCHEMA_VERSION && !MIGRATIONS.has(version)) {
    return problem(
      "state_unusable",
      `${path} has schema version ${version}, this registry reads version ${SCHEMA_VERSION}: run the version that wrote it`,
    );
  }
  const check = database.prepare("PRAGMA quick_check(1)").get()?.["quick_check"];
  if (check !== "ok") return corrupt(path, String(check));
  for (let from = version; from < SCHEMA_VERSION; from++)
    database.exec(`BEGIN; ${MIGRATIONS.get(from) ?? ""} PRAGMA user_version = ${from + 1}; COMMIT;`);
  return undefined;
}

export function corrupt(path: string, detail: string): Problem {
  return problem(
    "state_unusable",
    `${path} is damaged (${detail}): restore the state directory from its latest backup`,
  );
}

function isEmpty(database: DatabaseSync): boolean {
  return database.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.["n"] === 0;
}

function pragma(database: DatabaseSync, name: "application_id" | "user_version"): number {
  return Number(database.prepare(`PRAGMA ${name}`).get()?.[name]);
}

const SQLITE_BUSY = 5;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

function openProblem(path: string, cause: unknown): Problem {
  const code = primaryCode(cause);
  if (code === SQLITE_BUSY) return problem("state_unusable", `${path} is in use by another registry process`);
  if (code === SQLITE_CORRUPT || code === SQLITE_NOTADB) return corrupt(path, describe(cause));
  return problem("state_unusable", `${path} cannot be opened: ${describe(cause)}`);
}

/** SQLite's primary result code: the low byte of the extended one. */
function primaryCode(cause: unknown): number | undefined {
  return cause instanceof Error && "errcode" in cause && typeof cause.errcode === "number"
    ? cause.errcode & 0xff
    : undefined;
}

export function describe(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
