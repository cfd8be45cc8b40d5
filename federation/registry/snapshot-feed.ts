import type { Snapshot } from "../model/snapshot.ts";
import type { Authority } from "./authority.ts";
import { type Clock, timestamp } from "./clock.ts";
import { publishedText } from "./changed-snapshots.ts";
import { makeDelta } from "./snapshot-delta.ts";
import type { SnapshotArchive } from "./snapshot-archive.ts";
import type { ClusterState, FederationState } from "./state.ts";
import type { RegistryStore } from "./store.ts";

/** Of all clusters; made again where it is asked for again. */
const MAX_DELTAS = 1_000;

export interface SignedSnapshot {
  readonly revision: number;
  readonly jws: Promise<string>;
}

/** Signed snapshots, each compiled and signed once however many members ask. */
export class SnapshotFeed {
  readonly #authority: Authority;
  readonly #store: RegistryStore;
  readonly #archive: SnapshotArchive;
  readonly #clock: Clock;
  /** Those that are being made: whoever asks meanwhile waits for the same one. */
  readonly #deltas = new Map<string, string>();
  readonly #current = new Map<string, SignedSnapshot>();

  constructor(deps: {
    readonly authority: Authority;
    readonly store: RegistryStore;
    readonly archive: SnapshotArchive;
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
  current(state: FederationState, name: string): SignedSnapshot | undefined {
    const cluster = state.clusters.get(name);
    if (cluster === undefined) {
      this.#current.delete(name);
      return undefined;
    }
    const revision = cluster.snapshotRevision;
    const known = this.#current.get(name);
    if (known?.revision === revision) return known;
    const signed = { revision, jws: this.#make(state, cluster) };
    this.#current.set(name, signed);
    // One that could not be made is made anew by the next who asks.
    signed.jws.catch(() => {
      if (this.#current.get(name) === signed) this.#current.delete(name);
    });
    return signed;
  }

  /** From an earlier revision to `signed`; made once for all members that have the same one. */
  async delta(name: string, from: number, signed: SignedSnapshot): Promise<string | undefined> {
    const key = `${name}/${from}/${signed.revision}`;
    const known = this.#deltas.get(key);
    if (known !== undefined) return known;
    const before = await this.#archive.find(name, from);
    if (before === undefined || from >= signed.revision) return undefined;
    const after = { revision: signed.revision, jws: await signed.jws };
    const delta = makeDelta({ revision: from, jws: before }, after);
    if (delta === undefined) return undefined;
    if (this.#deltas.size >= MAX_DELTAS) this.#deltas.clear();
    this.#deltas.set(key, delta);
    return delta;
  }

  async #make(state: FederationState, cluster: ClusterState): Promise<string> {
    const { name } = cluster.record;
    const revision = cluster.snapshotRevision;
    const archived = await this.#archive.find(name, revision);
    if (archived !== undefined) return archived;
    const began = this.#clock.now();
    const content = publishedText(state, cluster, this.#authority.root);
    const date = { revision, issuedAt: await this.#issuedAt(revision) };
    const jws = await this.#authority.signSnapshot(dated(content, date), state);
    this.times.made += 1;
    this.times.ms += this.#clock.now() - began;
    await this.#archive.save(name, revision, jws);
    return jws;
  }

  /** The time of the change that made it so: every instance, and the same one after a restart, signs the same bytes. */
  async #issuedAt(revision: number): Promise<string> {
    const found = await this.#store.audit({ after: revision - 1, limit: 1 });
    const [record] = found.ok ? found.value : [];
    return record?.revision === revision ? record.time : timestamp(this.#clock.now());
  }
}

/** The snapshot whole, as JSON: what it says, and since when, which stands last so that deltas find it there. */
function dated(content: string, date: Pick<Snapshot, "revision" | "issuedAt">): string {
  return `${content.slice(0, -1)},${JSON.stringify(date).slice(1)}`;
}
