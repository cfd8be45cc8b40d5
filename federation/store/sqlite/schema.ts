/** "isth": tells our file from any other SQLite database. */
export const APPLICATION_ID = 0x69737468;
/** Grows when the tables change; a store of a newer version is refused, an older one migrated. */
export const SCHEMA_VERSION = 2;

/**
 * `sum` is a CRC of the body: SQLite's own pages carry none, and a flipped byte must be found at the start, not in the
 * middle of a permission. A member's `body` is empty where it was forgotten.
 */
export const SCHEMA = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;
  CREATE TABLE items (
    kind TEXT NOT NULL, cluster TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    body TEXT NOT NULL, sum INTEGER NOT NULL,
    PRIMARY KEY (kind, cluster, namespace, name)
  ) WITHOUT ROWID, STRICT;
  CREATE TABLE first_seen (key TEXT PRIMARY KEY, time TEXT NOT NULL) WITHOUT ROWID, STRICT;
  CREATE TABLE snapshots (cluster TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID, STRICT;
  CREATE TABLE audit (revision INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
  CREATE TABLE requests (
    token TEXT PRIMARY KEY, revision INTEGER NOT NULL, fingerprint TEXT NOT NULL, response TEXT NOT NULL
  ) WITHOUT ROWID, STRICT;
  CREATE INDEX requests_by_revision ON requests (revision);
  CREATE TABLE members (
    cluster TEXT NOT NULL, member TEXT NOT NULL, body TEXT NOT NULL, sequence INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (cluster, member)
  ) WITHOUT ROWID, STRICT;
  CREATE TABLE spent (name TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID, STRICT;
`;

/** What leads from each version to the next one. */
export const MIGRATIONS: ReadonlyMap<number, string> = new Map([
  [
    1,
    `
  ALTER TABLE members ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;
  CREATE TABLE spent (name TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID, STRICT;
`,
  ],
]);
