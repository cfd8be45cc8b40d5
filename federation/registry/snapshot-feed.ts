import type { Snapshot } from "../model/snapshot.ts";
import type { Authority } from "./authority.ts";
import { type Clock, timestamp } from "./clock.ts";
import { publishedPieces } from "./changed-snapshots.ts";
import { formOf, type JwsParts, type SnapshotForm } from "../trust/index.ts";
import { makeDelta } from "./snapshot-delta.ts";
import type { MemoryArchive } from "./snapshot-archive.ts";
import type { ClusterState, FederationState } from "./state.ts";
import type { RegistryStore } from "./store.ts";
import { Turnstile } from "./turnstile.ts";

/** Of all clusters; made again where it is asked for again. */
const MAX_DELTAS = 1_000;
/** Each holds its snapshot several times over, which a change of all clusters would otherwise pile up at once. */
const MADE_AT_ONCE = 8;

export interface SignedSnapshot {
  readonly revision: number;
  /** For whom it is: who reads digests reads both forms. */
  readonly form: SnapshotForm;
  readonly jws: Promise<JwsParts>;
}

/** Signed snapshots, each compiled and signed once however many members ask. */
export class SnapshotFeed {
  readonly #authority: Authority;
  readonly #store: RegistryStore;
  readonly #archive: MemoryArchive;
  readonly #clock: Clock;
  readonly #deltas = new Map<string, Promise<string | undefined>>();
  /** Those that are being made: whoever asks meanwhile waits for the same one. What is made lies in the archive. */
  readonly #making = new Map<string, SignedSnapshot>();
  readonly #turnstile = new Turnstile(MADE_AT_ONCE);
  /** Of the last change whose time was asked for: all snapshots that it altered ask. */
  #dated: { readonly revision: number; readonly time: string } | undefined;

  constructor(deps: {
    readonly authority: Authority;
    readonly store: RegistryStore;
    readonly archive: MemoryArchive;
    readonly clock: Clock;
  }) {
    this.#authority = deps.authority;
    this.#store = deps.store;
    this.#archive = deps.archive;
    this.#clock = deps.clock;
  }

  /** What compiling and signing took so far, in milliseconds. */
  readonly times = { made: 0, ms: 0 };

  /** `undefined` where there is no such cluster. */
  current(state: FederationState, name: string, form: SnapshotForm): SignedSnapshot | undefined {
    const cluster = state.clusters.get(name);
    if (cluster === undefined) return undefined;
    const revision = cluster.snapshotRevision;
    const key = `${name}/${form}`;
    const known = this.#making.get(key);
    if (known?.revision === revision) return known;
    const made = { revision, form, jws: this.#make(state, cluster, form) };
    this.#making.set(key, made);
    const done = (): void => {
      if (this.#making.get(key) === made) this.#making.delete(key);
    };
    made.jws.finally(done).catch(() => {});
    return made;
  }

  /** From an earlier revision to `signed`; made once for all members that have the same one. */
  delta(name: string, from: number, signed: SignedSnapshot): Promise<string | undefined> {
    const key = `${name}/${from}/${signed.revision}/${signed.form}`;
    const known = this.#deltas.get(key);
    if (known !== undefined) return known;
    if (this.#deltas.size >= MAX_DELTAS) this.#deltas.clear();
    const made = this.#makeDelta(name, from, signed);
    this.#deltas.set(key, made);
    const forget = (): void => {
      if (this.#deltas.get(key) === made) this.#deltas.delete(key);
    };
    made.then((delta) => (delta === undefined ? forget() : undefined), forget);
    return made;
  }

  async #makeDelta(name: string, from: number, signed: SignedSnapshot): Promise<string | undefined> {
    if (from >= signed.revision) return undefined;
    const before = await this.#archive.find(name, from);
    if (before === undefined) return undefined;
    const after = { revision: signed.revision, jws: await signed.jws };
    return makeDelta({ revision: from, jws: before }, after);
  }

  async #make(state: FederationState, cluster: ClusterState, form: SnapshotForm): Promise<JwsParts> {
    const { name } = cluster.record;
    const revision = cluster.snapshotRevision;
    const archived = await this.#archive.find(name, revision);
    if (archived !== undefined && (form === "digest" || formOf(archived) === "whole")) return archived;
    // Compiled again rather than taken from the archive: nothing is signed that was not compiled here.
    return this.#turnstile.pass(() => this.#sign(state, cluster, form));
  }

  async #sign(state: FederationState, cluster: ClusterState, form: SnapshotForm): Promise<JwsParts> {
    const { name } = cluster.record;
    const revision = cluster.snapshotRevision;
    const began = this.#clock.now();
    const date = { revision, issuedAt: await this.#issuedAt(revision) };
    const pieces = publishedPieces(state, cluster, this.#authority.root);
    const jws = await this.#authority.signSnapshot(dated(pieces, date), state, form);
    this.times.made += 1;
    this.times.ms += this.#clock.now() - began;
    await this.#archive.save(name, revision, jws);
    return jws;
  }

  /** The time of the change that made it so: every instance, and the same one after a restart, signs the same bytes. */
  async #issuedAt(revision: number): Promise<string> {
    if (this.#dated?.revision === revision) return this.#dated.time;
    const found = await this.#store.audit({ after: revision - 1, limit: 1 });
    const [record] = found.ok ? found.value : [];
    if (record?.revision !== revision) return timestamp(this.#clock.now());
    this.#dated = { revision, time: record.time };
    return record.time;
  }
}

/** The snapshot whole, as JSON: what it says, and since when, which stands last so that deltas find it there. */
function dated(pieces: readonly string[], date: Pick<Snapshot, "revision" | "issuedAt">): Buffer {
  return Buffer.from(`${pieces.slice(0, -1).join("")},${JSON.stringify(date).slice(1)}`);
}
