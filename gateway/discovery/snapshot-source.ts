export interface SnapshotSourceStatus {
  readonly connected: boolean;
  /** Last complete, well-formed answer of the registry. */
  readonly lastContactMs?: number;
  readonly revision?: number;
  /** Of the last exchange that failed; absent while all is well. */
  readonly lastError?: { readonly code: string; readonly detail: string };
}
