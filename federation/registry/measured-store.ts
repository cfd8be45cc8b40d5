import type { RegistryStore } from "./store.ts";

export interface TableUnits {
  readonly read: number;
  readonly write: number;
  readonly retries: number;
}

export interface MeasuredStore {
  /** By operation and outcome, as labels. */
  readonly calls: ReadonlyMap<string, { readonly count: number; readonly ms: number }>;
  /** Where the store is one that charges for them. */
  readonly units: TableUnits | undefined;
}

/** The same store; what it is asked is counted and timed. */
export function measureStore(
  store: RegistryStore,
  monotonicMs: () => number,
  units: () => TableUnits | undefined = () => undefined,
): { readonly store: RegistryStore; readonly measured: MeasuredStore } {
  const calls = new Map<string, { count: number; ms: number }>();
  const count = (operation: string, outcome: string, began: number): void => {
    const labels = `operation="${operation}",outcome="${outcome}"`;
    const known = calls.get(labels) ?? { count: 0, ms: 0 };
    known.count += 1;
    known.ms += monotonicMs() - began;
    calls.set(labels, known);
  };
  const timed =
    <
      A extends readonly unknown[],
      T extends { readonly ok: boolean; readonly error?: { readonly kind: string } },
    >(
      operation: string,
      run: (...args: A) => Promise<T>,
    ) =>
    async (...args: A): Promise<T> => {
      const began = monotonicMs();
      const done = await run(...args);
      count(operation, done.ok ? "ok" : (done.error?.kind ?? "unavailable"), began);
      return done;
    };
  const measured: RegistryStore = {
    shared: store.shared,
    foundation: timed("foundation", () => store.foundation()),
    found: timed("found", (foundation) => store.found(foundation)),
    revision: timed("revision", () => store.revision()),
    load: timed("load", () => store.load()),
    changesAfter: timed("changes_after", (revision) => store.changesAfter(revision)),
    commit: timed("commit", (change) => store.commit(change)),
    saveCheckpoint: timed("save_checkpoint", (state) => store.saveCheckpoint(state)),
    restore: timed("restore", (backup) => store.restore(backup)),
    findRequest: timed("find_request", (token) => store.findRequest(token)),
    audit: timed("audit", (page) => store.audit(page)),
    saveMembers: timed("save_members", (members) => store.saveMembers(members)),
    forgetMembers: timed("forget_members", (cluster) => store.forgetMembers(cluster)),
    members: timed("members", (cluster) => store.members(cluster)),
    spend: timed("spend", (name, untilMs, nowMs) => store.spend(name, untilMs, nowMs)),
    cleanUp: timed("clean_up", (nowMs) => store.cleanUp(nowMs)),
    close: () => store.close(),
  };
  return {
    store: measured,
    measured: {
      calls,
      get units() {
        return units();
      },
    },
  };
}
