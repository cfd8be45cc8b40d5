import type { Snapshot } from "../model/snapshot.ts";
import type { Authority } from "./authority.ts";
import { type Clock, timestamp } from "./clock.ts";
import { compileSnapshot } from "./compile-snapshot.ts";
import type { FederationState } from "./state.ts";

interface Signed {
  readonly revision: number;
  readonly jws: Promise<string>;
}

/** Signed snapshots, each compiled and signed once however many members ask. */
export class SnapshotFeed {
  readonly #authority: Authority;
  readonly #clock: Clock;
  readonly #signed = new Map<string, Signed>();

  constructor(authority: Authority, clock: Clock) {
    this.#authority = authority;
    this.#clock = clock;
  }

  /** `undefined` where there is no such cluster. */
  current(state: FederationState, name: string): Signed | undefined {
    const cluster = state.clusters.get(name);
    if (cluster === undefined) {
      this.#signed.delete(name);
      return undefined;
    }
    const revision = cluster.snapshotRevision;
    const known = this.#signed.get(name);
    if (known?.revision === revision) return known;
    const snapshot: Snapshot = {
      ...compileSnapshot(state, cluster, this.#authority.root),
      revision,
      issuedAt: timestamp(this.#clock.now()),
    };
    const signed = { revision, jws: this.#authority.signSnapshot(snapshot) };
    this.#signed.set(name, signed);
    return signed;
  }
}
