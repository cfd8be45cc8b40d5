import type { Snapshot } from "../model/snapshot.ts";
import type { Authority } from "./authority.ts";
import { type Clock, timestamp } from "./clock.ts";
import { compileSnapshot } from "./compile-snapshot.ts";
import type { SnapshotArchive } from "./snapshot-archive.ts";
import type { ClusterState, FederationState } from "./state.ts";
import type { RegistryStore } from "./store.ts";

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

  async #make(state: FederationState, cluster: ClusterState): Promise<string> {
    const { name } = cluster.record;
    const revision = cluster.snapshotRevision;
    const archived = await this.#archive.find(name, revision);
    if (archived !== undefined) return archived;
    const content = compileSnapshot(state, cluster, this.#authority.root);
    const issuedAt = await this.#issuedAt(revision);
    const jws = await this.#authority.signSnapshot({ ...content, revision, issuedAt } satisfies Snapshot);
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
