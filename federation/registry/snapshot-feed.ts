import type { Snapshot } from "../model/snapshot.ts";
import type { Authority } from "./authority.ts";
import { type Clock, timestamp } from "./clock.ts";
import { compileSnapshot } from "./compile-snapshot.ts";
import type { FederationState } from "./state.ts";
import type { RegistryStore } from "./store.ts";

export interface SignedSnapshot {
  readonly revision: number;
  readonly jws: Promise<string>;
}

/** Signed snapshots, each compiled and signed once however many members ask. */
export class SnapshotFeed {
  readonly #authority: Authority;
  readonly #store: RegistryStore;
  readonly #clock: Clock;
  readonly #signed = new Map<string, SignedSnapshot>();

  constructor(authority: Authority, store: RegistryStore, clock: Clock) {
    this.#authority = authority;
    this.#store = store;
    this.#clock = clock;
  }

  /** `undefined` where there is no such cluster. */
  current(state: FederationState, name: string): SignedSnapshot | undefined {
    const cluster = state.clusters.get(name);
    if (cluster === undefined) {
      this.#signed.delete(name);
      return undefined;
    }
    const revision = cluster.snapshotRevision;
    const known = this.#signed.get(name);
    if (known?.revision === revision) return known;
    const content = compileSnapshot(state, cluster, this.#authority.root);
    const jws = this.#issuedAt(revision).then((issuedAt) =>
      this.#authority.signSnapshot({ ...content, revision, issuedAt } satisfies Snapshot),
    );
    const signed = { revision, jws };
    this.#signed.set(name, signed);
    // One that could not be made is made anew by the next who asks.
    jws.catch(() => {
      if (this.#signed.get(name) === signed) this.#signed.delete(name);
    });
    return signed;
  }

  /** The time of the change that made it so: every instance, and the same one after a restart, signs the same bytes. */
  async #issuedAt(revision: number): Promise<string> {
    const found = await this.#store.audit({ after: revision - 1, limit: 1 });
    const [record] = found.ok ? found.value : [];
    return record?.revision === revision ? record.time : timestamp(this.#clock.now());
  }
}
