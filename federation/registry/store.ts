import type { MemberStatus } from "../model/resource.ts";
import type { Result } from "../model/result.ts";
import type { AuditRecord } from "../model/wire/api.ts";
import type { Change, LoggedChange, StoredRequest } from "./change.ts";
import type { FederationState } from "./state.ts";

/**
 * Why a write was not acknowledged. `conflict`: it was not written. `too_large`: it never can be. `unavailable`: disk full, read-only, unreachable,
 * throttled for too long; a store over a network may have written it all the same, whole, and a request token tells.
 */
export type StoreFailure =
  | { readonly kind: "conflict" }
  | { readonly kind: "too_large"; readonly detail: string }
  | { readonly kind: "unavailable"; readonly detail: string };

export type Stored<T> = Promise<Result<T, StoreFailure>>;

/** What belongs to a federation from its first start on. */
export interface Foundation {
  readonly federation: string;
  /** Of the bootstrap admin token, hex. */
  readonly adminTokenSha256: string;
}

export interface StoredMember {
  readonly cluster: string;
  readonly member: string;
  /** Of the signature that brought it: nothing that was signed before is taken any more. */
  readonly sequence: number;
  /** Absent: it was forgotten, and is remembered for as long as its signatures live. */
  readonly status?: MemberStatus;
}

/**
 * Where the registry keeps its facts. Every adapter passes `test/conformance/store.ts`. What `commit` acknowledged
 * survives the death of process and machine; the other verbs say where they promise less.
 */
export interface RegistryStore {
  /** Whether other instances may write to it at any time: then whoever decides asks for the revision first. */
  readonly shared: boolean;
  /** `undefined` before the first start. */
  foundation(): Stored<Foundation | undefined>;
  /** Writes it once; later calls get the one that is there. */
  found(foundation: Foundation): Stored<Foundation>;
  /** The federation's revision, as of the last acknowledged change: one small read. */
  revision(): Stored<number>;
  load(): Stored<FederationState>;
  /** Oldest first and without a gap; `undefined` where the store does not reach back that far: then `load`. */
  changesAfter(revision: number): Stored<readonly LoggedChange[] | undefined>;
  /** All of the change or nothing; `conflict` where the federation's revision is not `baseRevision` any more. */
  commit(change: Change): Stored<Committed>;
  /** The state whole, so that a start need not read every change; only speed depends on it. */
  saveCheckpoint(state: FederationState): Stored<void>;
  /** Fills a store that was never founded; false where it was. All of it or nothing that counts. */
  restore(backup: Backup): Stored<boolean>;
  findRequest(token: string): Stored<StoredRequest | undefined>;
  audit(page: { readonly after: number; readonly limit: number }): Stored<readonly AuditRecord[]>;
  /**
   * Heartbeats: the last ones may be lost, members send them again. One with a lower or the same sequence never takes the
   * place of another; answers whether all of them were newer than what was there.
   */
  saveMembers(members: readonly StoredMember[]): Stored<boolean>;
  /** All of a cluster that is gone. */
  forgetMembers(cluster: string): Stored<void>;
  /** Of one cluster, or of all; with those that were forgotten lately. */
  members(cluster?: string): Stored<readonly StoredMember[]>;
  /** Whether this name was not spent before; it is remembered at least until `untilMs`, whatever ends meanwhile. */
  spend(name: string, untilMs: number, nowMs: number): Stored<boolean>;
  /** Removes what nobody will ask for any more; nothing depends on when, or whether, it runs. */
  cleanUp(nowMs: number): Stored<void>;
  close(): void;
}

/** Everything that a federation is but its keys, its heartbeats, and the requests of the last minutes. */
export interface Backup {
  readonly foundation: Foundation;
  readonly state: FederationState;
  readonly audit: readonly AuditRecord[];
}

export interface Committed {
  readonly revision: number;
  /** Enough was written since the last one that a start would feel it. */
  readonly checkpointDue?: boolean;
}
