import { join } from "node:path";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { type Problem, problem } from "../../model/problem.ts";
import { err, ok, type Result } from "../../model/result.ts";
import type { AuditRecord } from "../../model/wire/api.ts";
import type { Change, LoggedChange, StoredRequest } from "../../registry/change.ts";
import type { FederationState, Item } from "../../registry/state.ts";
import { toStateDocument } from "../../registry/state-document.ts";
import type {
  Backup,
  Committed,
  Foundation,
  RegistryStore,
  Stored,
  StoredMember,
} from "../../registry/store.ts";
import { HighWaterMark, readHighWaterMark } from "./high-water.ts";
import { loadState } from "./load-state.ts";
import { corrupt, describe, openDatabase } from "./open.ts";
import { DamagedRow, memberOf, parse, toRow } from "./rows.ts";

const DATABASE = "registry.db";
const HIGH_WATER = "registry.revision";

/** Requests are repeated within minutes; ten thousand changes later nobody repeats one. */
const REQUESTS_KEPT = 10_000;

/** Far longer than what a member signed is taken. */
const FORGOTTEN_KEPT_MS = 10 * 60_000;

const PUT = "INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?, ?)";
const SEE = "INSERT OR IGNORE INTO first_seen VALUES (?, ?)";
const REVISE = "INSERT OR REPLACE INTO snapshots VALUES (?, ?)";
const RECORD = "INSERT INTO audit VALUES (?, ?)";
const SAVE_MEMBER = `INSERT INTO members VALUES (?1, ?2, ?3, ?4)
  ON CONFLICT DO UPDATE SET body = ?3, sequence = ?4 WHERE sequence < ?4`;
const SPEND = `INSERT INTO spent VALUES (?1, ?2) ON CONFLICT DO UPDATE SET until = ?2 WHERE until < ?3`;

/** Opens the store of a state directory; a damaged, foreign, older or busy one is refused with the reason. */
export function openSqliteStore(
  directory: string,
  options: {
    readonly lockWaitMs?: number;
    /** To be told what was acknowledged, instead of being refused because it is not there. */
    readonly onOlder?: (acknowledged: number) => void;
  } = {},
): Result<RegistryStore, Problem> {
  const path = join(directory, DATABASE);
  const opened = openDatabase(path, options.lockWaitMs);
  if (!opened.ok) return opened;
  try {
    const mark = join(directory, HIGH_WATER);
    const store = new SqliteStore(opened.value, new HighWaterMark(mark));
    const unusable = store.judge(path, readHighWaterMark(mark), options.onOlder);
    if (unusable === undefined) return ok(store);
    store.close();
    return err(unusable);
  } catch (cause) {
    opened.value.close();
    return err(corrupt(path, describe(cause)));
  }
}

export class SqliteStore implements RegistryStore {
  /** The exclusive lock sees to it. */
  readonly shared = false;
  readonly #database: DatabaseSync;
  readonly #mark: HighWaterMark;
  readonly #statements = new Map<string, StatementSync>();

  constructor(database: DatabaseSync, mark: HighWaterMark) {
    this.#database = database;
    this.#mark = mark;
  }

  /** Reads everything once: what cannot be read now would fail a request later. */
  judge(path: string, acknowledged: number, onOlder?: (acknowledged: number) => void): Problem | undefined {
    const revision = this.#revision();
    loadState(this.#database, "", revision);
    if (revision >= acknowledged) return undefined;
    if (onOlder !== undefined) {
      onOlder(acknowledged);
      return undefined;
    }
    const detail = `${path} is at revision ${revision}, but revision ${acknowledged} was acknowledged: it is an older copy (isthmus registry recover goes on with it)`;
    return problem("state_unusable", detail);
  }

  foundation(): Stored<Foundation | undefined> {
    return attempt(() => this.#foundation());
  }

  found(foundation: Foundation): Stored<Foundation> {
    return attempt(() =>
      this.#transaction(() => {
        const existing = this.#foundation();
        if (existing !== undefined) return existing;
        this.#lay(foundation, 0);
        return foundation;
      }),
    );
  }

  revision(): Stored<number> {
    return attempt(() => this.#revision());
  }

  /** Rows are the state, not its history. */
  async changesAfter(): Stored<readonly LoggedChange[] | undefined> {
    return ok(undefined);
  }

  /** Every row is one already. */
  async saveCheckpoint(): Stored<void> {
    return ok(undefined);
  }

  load(): Stored<FederationState> {
    return attempt(() => loadState(this.#database, this.#foundation()?.federation ?? "", this.#revision()));
  }

  async commit(change: Change): Stored<Committed> {
    const { revision } = change;
    const written = await attempt(() =>
      this.#transaction(() => {
        if (this.#revision() !== change.baseRevision) return false;
        this.#write(change);
        return true;
      }),
    );
    if (!written.ok) return written;
    if (!written.value) return err({ kind: "conflict" });
    this.#mark.note(revision);
    return ok({ revision });
  }

  restore({ foundation, state, audit }: Backup): Stored<boolean> {
    return attempt(() => {
      const restored = this.#transaction(() => {
        if (this.#foundation() !== undefined) return false;
        this.#lay(foundation, state.revision);
        const { items, firstSeen, snapshots } = toStateDocument(state);
        for (const item of items) this.#put(item);
        for (const [key, time] of firstSeen) this.#sql(SEE).run(key, time);
        for (const [cluster, revision] of snapshots) this.#sql(REVISE).run(cluster, revision);
        for (const record of audit) this.#sql(RECORD).run(record.revision, JSON.stringify(record));
        return true;
      });
      if (restored) this.#mark.note(state.revision);
      return restored;
    });
  }

  findRequest(token: string): Stored<StoredRequest | undefined> {
    return attempt(() => {
      const row = this.#sql("SELECT fingerprint, response FROM requests WHERE token = ?").get(token);
      return row === undefined
        ? undefined
        : { token, fingerprint: String(row["fingerprint"]), response: String(row["response"]) };
    });
  }

  audit(page: { readonly after: number; readonly limit: number }): Stored<readonly AuditRecord[]> {
    return attempt(() =>
      this.#sql("SELECT body FROM audit WHERE revision > ? ORDER BY revision LIMIT ?")
        .all(page.after, page.limit)
        .map((row) => parse<AuditRecord>(row["body"])),
    );
  }

  saveMembers(members: readonly StoredMember[]): Stored<boolean> {
    return attempt(() =>
      this.#transaction(() => {
        const upsert = this.#sql(SAVE_MEMBER);
        const saved = members.map(({ cluster, member, status, sequence }) => {
          const body = status === undefined ? "" : JSON.stringify(status);
          return Number(upsert.run(cluster, member, body, sequence).changes);
        });
        return !saved.includes(0);
      }),
    );
  }

  forgetMembers(cluster: string): Stored<void> {
    return attempt(() => void this.#sql("DELETE FROM members WHERE cluster = ?").run(cluster));
  }

  members(cluster?: string): Stored<readonly StoredMember[]> {
    return attempt(() =>
      this.#sql("SELECT cluster, member, body, sequence FROM members WHERE ? IS NULL OR cluster = ?")
        .all(cluster ?? null, cluster ?? null)
        .map(memberOf),
    );
  }

  spend(name: string, untilMs: number, nowMs: number): Stored<boolean> {
    return attempt(() => Number(this.#sql(SPEND).run(name, untilMs, nowMs).changes) === 1);
  }

  cleanUp(nowMs: number): Stored<void> {
    return attempt(() => {
      this.#sql("DELETE FROM spent WHERE until < ?").run(nowMs);
      this.#sql("DELETE FROM members WHERE body = '' AND sequence < ?").run(nowMs - FORGOTTEN_KEPT_MS);
    });
  }

  close(): void {
    this.#mark.close();
    this.#database.close();
  }

  #write(change: Change): void {
    const { revision } = change;
    this.#sql("UPDATE meta SET value = ? WHERE key = 'revision'").run(String(revision));
    const remove = this.#sql(
      "DELETE FROM items WHERE kind = ? AND cluster = ? AND namespace = ? AND name = ?",
    );
    for (const { kind, cluster, namespace, name } of change.deletes) {
      remove.run(kind, cluster, namespace, name);
      if (kind === "Cluster") this.#sql("DELETE FROM snapshots WHERE cluster = ?").run(cluster);
    }
    for (const item of change.puts) this.#put(item);
    for (const { key, time } of change.firstSeen) this.#sql(SEE).run(key, time);
    for (const cluster of change.snapshots) this.#sql(REVISE).run(cluster, revision);
    this.#sql(RECORD).run(revision, JSON.stringify({ revision, ...change.audit }));
    if (change.request !== undefined) this.#rememberRequest(change.request, revision);
  }

  #put(item: Item): void {
    const { key, body, sum } = toRow(item);
    this.#sql(PUT).run(key.kind, key.cluster, key.namespace, key.name, body, sum);
  }

  #lay(foundation: Foundation, revision: number): void {
    this.#sql("INSERT INTO meta VALUES ('foundation', ?), ('revision', ?)").run(
      JSON.stringify(foundation),
      String(revision),
    );
  }

  #rememberRequest({ token, fingerprint, response }: StoredRequest, revision: number): void {
    this.#sql("INSERT INTO requests VALUES (?, ?, ?, ?)").run(token, revision, fingerprint, response);
    this.#sql("DELETE FROM requests WHERE revision < ?").run(revision - REQUESTS_KEPT);
  }

  #foundation(): Foundation | undefined {
    const row = this.#sql("SELECT value FROM meta WHERE key = 'foundation'").get();
    return row === undefined ? undefined : parse<Foundation>(row["value"]);
  }

  #revision(): number {
    return Number(this.#sql("SELECT value FROM meta WHERE key = 'revision'").get()?.["value"] ?? 0);
  }

  #transaction<T>(run: () => T): T {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      const value = run();
      this.#database.exec("COMMIT");
      return value;
    } catch (cause) {
      // A full disk may have rolled back by itself already.
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      throw cause;
    }
  }

  #sql(text: string): StatementSync {
    const known = this.#statements.get(text);
    if (known !== undefined) return known;
    const statement = this.#database.prepare(text);
    this.#statements.set(text, statement);
    return statement;
  }
}

/** Whatever SQLite refuses with (full, read-only, I/O error, busy) means the same here: nothing was written. */
async function attempt<T>(run: () => T): Stored<T> {
  try {
    return ok(run());
  } catch (cause) {
    if (cause instanceof DamagedRow || (cause instanceof Error && "errcode" in cause)) {
      return err({ kind: "unavailable", detail: cause.message });
    }
    throw cause;
  }
}
