import type { MemberStatus } from "../model/resource.ts";
import type { Result } from "../model/result.ts";
import type { AuditRecord } from "../model/wire/api.ts";
import type { Change, StoredRequest } from "./change.ts";
import type { FederationState } from "./state.ts";

/** Why a write did not happen. `unavailable`: disk full, read-only, broken; nothing was written. */
export type StoreFailure =
  | { readonly kind: "conflict" }
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
  readonly status: MemberStatus;
}

/**
 * Where the registry keeps its facts. Every adapter passes `test/conformance/store.ts`. What `commit` acknowledged
 * survives the death of process and machine; the other verbs say where they promise less.
 */
export interface RegistryStore {
  /** `undefined` before the first start. */
  foundation(): Stored<Foundation | undefined>;
  /** Writes it once; later calls get the one that is there. */
  found(foundation: Foundation): Stored<Foundation>;
  load(): Stored<FederationState>;
  /** All of the change or nothing; `conflict` where the federation's revision is not `baseRevision` any more. */
  commit(change: Change): Stored<{ readonly revision: number }>;
  findRequest(token: string): Stored<StoredRequest | undefined>;
  audit(page: { readonly after: number; readonly limit: number }): Stored<readonly AuditRecord[]>;
  /** Heartbeats: the last ones may be lost, members send them again. */
  saveMembers(members: readonly StoredMember[]): Stored<void>;
  forgetMembers(cluster: string, member?: string): Stored<void>;
  members(): Stored<readonly StoredMember[]>;
  close(): void;
}
