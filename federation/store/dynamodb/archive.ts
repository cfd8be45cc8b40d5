import type { SnapshotArchive } from "../../registry/snapshot-archive.ts";
import type { Clock } from "../../registry/clock.ts";
import { attempt } from "./attempt.ts";
import { fromRows, toRows } from "./document.ts";
import { revisionKey, snapshotPk } from "./keys.ts";
import type { Table } from "./table.ts";

/** A member that was away for longer gets its snapshot whole. */
const KEPT_S = 7 * 24 * 3_600;

/** Signed snapshots beside the facts, so that one instance signs what all others serve. */
export class DynamoDbArchive implements SnapshotArchive {
  readonly #table: Table;
  readonly #clock: Clock;

  constructor(table: Table, clock: Clock) {
    this.#table = table;
    this.#clock = clock;
  }

  async find(cluster: string, revision: number): Promise<string | undefined> {
    const found = await attempt(async () => {
      const prefix = `${revisionKey(revision)}#`;
      const rows = await this.#table.query({ pk: snapshotPk(cluster), prefix, eventual: true });
      return rows.length === 0 ? undefined : fromRows<string>(rows);
    });
    return found.ok ? found.value : undefined;
  }

  async save(cluster: string, revision: number, jws: string): Promise<void> {
    const expires = { N: String(Math.floor(this.#clock.now() / 1_000) + KEPT_S) };
    await attempt(() =>
      this.#table.putAll(toRows(snapshotPk(cluster), revisionKey(revision), jws, { expires })),
    );
  }
}
