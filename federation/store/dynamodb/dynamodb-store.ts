// Longer than most: every verb of the store port, one after the other.
import { err, ok } from "../../model/result.ts";
import type { AuditRecord } from "../../model/wire/api.ts";
import { applyLogged, type Change, type LoggedChange, type StoredRequest } from "../../registry/change.ts";
import type { FederationState } from "../../registry/state.ts";
import {
  emptyState,
  fromStateDocument,
  type StateDocument,
  toStateDocument,
} from "../../registry/state-document.ts";
import type {
  Backup,
  Committed,
  Foundation,
  RegistryStore,
  Stored,
  StoredMember,
} from "../../registry/store.ts";
import {
  behindParts,
  bytesOf,
  DamagedDocument,
  documentsOf,
  fromRows,
  partKey,
  type Row,
  toRows,
} from "./document.ts";
import {
  AUDIT,
  CHECKPOINT,
  FOUNDATION,
  HEAD,
  LOG,
  MEMBER_SHARDS,
  memberPk,
  memberShardPk,
  memberSk,
  requestPk,
  revisionKey,
  spentKey,
} from "./keys.ts";
import { attempt } from "./attempt.ts";
import {
  changesFrom,
  foundationRows,
  type Head,
  headOf,
  memberOf,
  memberRow,
  moveHead,
  putNew,
  requestRows,
} from "./rows.ts";
import { keyOf, type Table } from "./table.ts";

/** An instance that is further behind reads the checkpoint: it is the smaller part by then. */
const MAX_CHANGES_FOLLOWED = 2_000;
/** Kept behind a checkpoint for instances that follow. */
const CHANGES_KEPT = 2_000;
/** A checkpoint is due when following the changes since the last one costs a quarter of reading it. */
const CHECKPOINT_MIN_BYTES = 256 * 1024;
const CHECKPOINT_SHARE = 4;
/** A checkpoint can be replaced, and its parts removed, while somebody reads it. */
const MAX_LOADS = 5;
/** Of one clean-up: it comes again. */
const MAX_REMOVED = 2_000;
/** Of TransactWriteItems, less something for keys and names. */
const MAX_CHANGE_BYTES = 3_800_000;

/**
 * The registry's facts in one DynamoDB table, for any number of instances. The log of changes is what counts: each is
 * one transaction over the head (whose revision is the condition), its own rows, its audit record and its request token,
 * so that it fits whatever it changes. Checkpoints only shorten the way: see decision 23.
 */
export class DynamoDbStore implements RegistryStore {
  readonly shared = true;
  readonly #table: Table;
  readonly #newId: () => string;
  #head: Head | undefined;

  constructor(table: Table, newId: () => string) {
    this.#table = table;
    this.#newId = newId;
  }

  foundation(): Stored<Foundation | undefined> {
    return attempt(() => this.#foundation());
  }

  found(foundation: Foundation): Stored<Foundation> {
    return attempt(async () => {
      const rows = foundationRows(foundation, { revision: 0, checkpoint: 0, weight: 0 });
      const written = await this.#table.transact(rows.map(putNew), this.#newId());
      if (written === "written") return foundation;
      const existing = await this.#foundation();
      if (existing === undefined) throw new DamagedDocument("the table has a head and no foundation");
      return existing;
    });
  }

  revision(): Stored<number> {
    return attempt(async () => (await this.#readHead()).revision);
  }

  load(): Stored<FederationState> {
    return attempt(async () => {
      for (let attempts = 1; ; attempts++) {
        const head = await this.#readHead();
        const state = await this.#loadAt(head);
        if (state !== undefined) return state;
        if (attempts >= MAX_LOADS) throw new DamagedDocument(`no way leads to revision ${head.revision}`);
      }
    });
  }

  changesAfter(revision: number): Stored<readonly LoggedChange[] | undefined> {
    return attempt(async () => {
      const after = behindParts(revisionKey(revision));
      const rows = await this.#table.query({ pk: LOG, after, limit: MAX_CHANGES_FOLLOWED });
      return rows.length >= MAX_CHANGES_FOLLOWED ? undefined : changesFrom(rows, revision);
    });
  }

  async commit(change: Change): Stored<Committed> {
    const id = this.#newId();
    const { request, ...logged } = change;
    const { revision, audit } = change;
    const sk = revisionKey(revision);
    const log = toRows(LOG, sk, logged, { id: { S: id } });
    const rows = [...log, ...toRows(AUDIT, sk, { revision, ...audit }), ...requestRows(request, audit.time)];
    if (bytesOf(rows) > MAX_CHANGE_BYTES)
      return err({
        kind: "too_large",
        detail: `the change is larger than the ${MAX_CHANGE_BYTES / 1e6} MB that one transaction takes: apply it in parts`,
      });
    const items = [moveHead(change, bytesOf(log)), ...rows.map(putNew)];
    const written = await attempt(() => this.#table.transact(items, id));
    if (written.ok && written.value === "written") return ok(this.#acknowledge(revision, bytesOf(log)));
    // Not written, or written by an earlier try whose answer got lost: the log knows whose change it is.
    const mine = await attempt(() => this.#isLogged(sk, id));
    if (mine.ok && mine.value) return ok(this.#acknowledge(revision, bytesOf(log)));
    return written.ok ? err({ kind: "conflict" }) : written;
  }

  saveCheckpoint(state: FederationState): Stored<void> {
    return attempt(async () => {
      const rows = toRows(CHECKPOINT, revisionKey(state.revision), toStateDocument(state));
      await this.#table.putAll(rows);
      const weight = bytesOf(rows);
      const moved = await this.#table.update(HEAD, {
        set: "SET ckpt = :revision, weight = :weight, logged = :none",
        condition: "ckpt < :revision AND rev >= :revision",
        values: {
          ":revision": { N: String(state.revision) },
          ":weight": { N: String(weight) },
          ":none": { N: "0" },
        },
      });
      if (moved && this.#head !== undefined)
        this.#head = { ...this.#head, checkpoint: state.revision, weight, logged: 0 };
    });
  }

  restore({ foundation, state, audit }: Backup): Stored<boolean> {
    return attempt(async () => {
      if ((await this.#foundation()) !== undefined) return false;
      const { revision } = state;
      const checkpoint = toRows(CHECKPOINT, revisionKey(revision), toStateDocument(state));
      await this.#table.putAll(checkpoint);
      await this.#table.putAll(
        audit.flatMap((record) => toRows(AUDIT, revisionKey(record.revision), record)),
      );
      // Last: until then there is nothing, and whatever was begun may be begun again.
      const rows = foundationRows(foundation, {
        revision,
        checkpoint: revision,
        weight: bytesOf(checkpoint),
      });
      return (await this.#table.transact(rows.map(putNew), this.#newId())) === "written";
    });
  }

  findRequest(token: string): Stored<StoredRequest | undefined> {
    return attempt(async () => {
      const rows = await this.#table.query({ pk: requestPk(token) });
      return rows.length === 0 ? undefined : fromRows<StoredRequest>(rows);
    });
  }

  audit(page: { readonly after: number; readonly limit: number }): Stored<readonly AuditRecord[]> {
    return attempt(async () => {
      const records: AuditRecord[] = [];
      let after = behindParts(revisionKey(page.after));
      while (records.length < page.limit) {
        const asked = page.limit - records.length;
        const rows = await this.#table.query({ pk: AUDIT, after, limit: asked });
        const documents = documentsOf(rows);
        for (const [index, document] of documents.entries()) {
          // The last one may be cut by the page.
          const whole = index === documents.length - 1 ? await this.#wholeOf(document) : document;
          records.push(fromRows<AuditRecord>(whole));
        }
        const last = records.at(-1);
        if (rows.length < asked || last === undefined) return records;
        after = behindParts(revisionKey(last.revision));
      }
      return records;
    });
  }

  saveMembers(members: readonly StoredMember[]): Stored<boolean> {
    return attempt(async () => {
      const condition = "attribute_not_exists(seq) OR seq < :seq";
      const saved = await Promise.all(
        members.map((one) =>
          this.#table.put(memberRow(one), {
            expression: condition,
            values: { ":seq": { N: String(one.sequence) } },
          }),
        ),
      );
      return !saved.includes(false);
    });
  }

  forgetMembers(cluster: string): Stored<void> {
    return attempt(async () => {
      const range = { pk: memberPk(cluster), prefix: memberSk(cluster, ""), keysOnly: true };
      return this.#table.deleteAll(await this.#table.query(range));
    });
  }

  members(cluster?: string): Stored<readonly StoredMember[]> {
    return attempt(async () => {
      const ranges =
        cluster === undefined
          ? Array.from({ length: MEMBER_SHARDS }, (_, shard) => ({ pk: memberShardPk(shard) }))
          : [{ pk: memberPk(cluster), prefix: memberSk(cluster, "") }];
      const rows = await Promise.all(ranges.map((range) => this.#table.query(range)));
      return rows.flat().map(memberOf);
    });
  }

  spend(name: string, untilMs: number, nowMs: number): Stored<boolean> {
    return attempt(() =>
      this.#table.put(
        { ...keyOf(spentKey(name)), expires: { N: String(Math.ceil(untilMs / 1_000)) } },
        {
          expression: "attribute_not_exists(pk) OR expires < :now",
          values: { ":now": { N: String(Math.floor(nowMs / 1_000)) } },
        },
      ),
    );
  }

  cleanUp(): Stored<void> {
    return attempt(async () => {
      const { checkpoint } = await this.#readHead();
      if (checkpoint === 0) return;
      const stale = { pk: CHECKPOINT, before: revisionKey(checkpoint) };
      const passed = { pk: LOG, before: revisionKey(Math.max(0, checkpoint - CHANGES_KEPT)) };
      for (const range of [stale, passed]) {
        const rows = await this.#table.query({ ...range, keysOnly: true, limit: MAX_REMOVED });
        await this.#table.deleteAll(rows);
      }
    });
  }

  close(): void {
    // The client's connections end with the process, and may be another store's too.
  }

  async #foundation(): Promise<Foundation | undefined> {
    const row = await this.#table.get(FOUNDATION);
    return row === undefined ? undefined : (JSON.parse(row["value"]?.S ?? "") as Foundation);
  }

  async #readHead(): Promise<Head> {
    this.#head = headOf(await this.#table.get(HEAD));
    return this.#head;
  }

  /** `undefined` where the checkpoint was replaced meanwhile. */
  async #loadAt({ revision, checkpoint }: Head): Promise<FederationState | undefined> {
    const foundation = await this.#foundation();
    let state = emptyState(foundation?.federation ?? "");
    if (checkpoint > 0) {
      const rows = await this.#table.query({
        pk: CHECKPOINT,
        prefix: partKey(revisionKey(checkpoint), 0).slice(0, -4),
      });
      if (rows.length === 0) return undefined;
      try {
        state = fromStateDocument(fromRows<StateDocument>(rows));
      } catch (cause) {
        if (cause instanceof DamagedDocument && (await this.#readHead()).checkpoint !== checkpoint)
          return undefined;
        throw cause;
      }
    }
    const rows = await this.#table.query({ pk: LOG, after: behindParts(revisionKey(checkpoint)) });
    const changes = changesFrom(rows, checkpoint);
    if (changes === undefined) return undefined;
    for (const change of changes) state = applyLogged(state, change);
    return state.revision >= revision ? state : undefined;
  }

  async #isLogged(sk: string, id: string): Promise<boolean> {
    const row = await this.#table.get({ pk: LOG, sk: partKey(sk, 0) });
    return row?.["id"]?.S === id;
  }

  async #wholeOf(document: readonly Row[]): Promise<readonly Row[]> {
    const [first] = document;
    if (first === undefined || first["parts"]?.N === String(document.length)) return document;
    return this.#table.query({ pk: first["pk"]?.S ?? "", prefix: (first["sk"]?.S ?? "").slice(0, -4) });
  }

  #acknowledge(revision: number, bytes: number): Committed {
    const head = this.#head;
    if (head === undefined) return { revision };
    const logged = head.logged + bytes;
    this.#head = { ...head, revision, logged };
    const due = Math.max(CHECKPOINT_MIN_BYTES, head.weight / CHECKPOINT_SHARE);
    return logged < due ? { revision } : { revision, checkpointDue: true };
  }
}
