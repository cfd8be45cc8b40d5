import { createHash } from "node:crypto";
import type { Problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { applyLogged, completeChange, type Planned, type Refusal, type StoredRequest } from "./change.ts";
import { changedSnapshots, keepDigest } from "./changed-snapshots.ts";
import { type Clock, timestamp } from "./clock.ts";
import type { RootBundle } from "./compile-snapshot.ts";
import { refuse } from "./plan/refuse.ts";
import type { FederationState } from "./state.ts";
import type { RegistryStore, StoreFailure } from "./store.ts";

/** Changes wait for each other; a line this long means that the disk does not keep up. */
const MAX_WAITING = 1_000;
/** Another instance changed the store between planning and writing; more often than this is no accident. */
const MAX_ATTEMPTS = 12;
/** Instances that collided once should not do so again in step. */
const COLLISION_MS = 20;

export interface Execution {
  /** For the audit record. */
  readonly actor: string;
  readonly dryRun?: boolean;
  /** A repeated request gets its first answer again. `meaning` is what may not differ. */
  readonly request?: { readonly token: string; readonly meaning: string };
}

/**
 * The one place where the federation changes: plan against the current state, write under the condition that it still
 * is the current one, then publish the next. Reads take `state` and keep it.
 */
export class Ledger {
  readonly #store: RegistryStore;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #root: RootBundle;
  readonly #onPublish: (changedSnapshots: readonly string[]) => void;
  #state: FederationState;
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #writable = true;
  #reading: Promise<unknown> = Promise.resolve();
  #nextRead: Promise<StoreFailure | undefined> | undefined;

  constructor(
    deps: {
      readonly store: RegistryStore;
      readonly clock: Clock;
      readonly random: () => number;
      readonly root: RootBundle;
    },
    initial: FederationState,
    onPublish: (changedSnapshots: readonly string[]) => void,
  ) {
    this.#store = deps.store;
    this.#clock = deps.clock;
    this.#random = deps.random;
    this.#root = deps.root;
    this.#state = initial;
    this.#onPublish = onPublish;
  }

  get state(): FederationState {
    return this.#state;
  }

  /** Whether the last write could be written. */
  get writable(): boolean {
    return this.#writable;
  }

  /**
   * Follows what other instances wrote before this call. Calls that come while one is reading share the read after it:
   * a thousand polls at once cost two reads. Answers why, where it cannot be known.
   */
  refresh(): Promise<StoreFailure | undefined> {
    if (!this.#store.shared) return Promise.resolve(undefined);
    this.#nextRead ??= this.#reading.then(() => {
      this.#nextRead = undefined;
      const read = this.#catchUp();
      this.#reading = read;
      return read;
    });
    return this.#nextRead;
  }

  /** `plan` may run several times, each time with the state that is current then. */
  async execute<A>(
    execution: Execution,
    plan: (state: FederationState) => Planned<A>,
  ): Promise<Result<A, Refusal>> {
    if (execution.dryRun === true) return this.#rehearse(execution, plan);
    if (this.#waiting >= MAX_WAITING)
      return refuse("limit_exceeded", `${MAX_WAITING} changes are waiting to be written`);
    this.#waiting += 1;
    const turn = this.#tail.then(() => this.#perform(execution, plan));
    this.#tail = turn.catch(() => {});
    try {
      return await turn;
    } finally {
      this.#waiting -= 1;
    }
  }

  #rehearse<A>(execution: Execution, plan: (state: FederationState) => Planned<A>): Result<A, Refusal> {
    const planned = plan(this.#state);
    if (!planned.ok) return planned;
    const { draft, answer } = planned.value;
    return ok(answer(draft === undefined ? this.#state : this.#complete(execution, draft).after));
  }

  async #perform<A>(
    execution: Execution,
    plan: (state: FederationState) => Planned<A>,
  ): Promise<Result<A, Refusal>> {
    const fingerprint = execution.request === undefined ? "" : fingerprintOf(execution);
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      const repeated = await this.#recall<A>(execution, fingerprint);
      if (repeated !== undefined) return repeated;
      const planned = plan(this.#state);
      if (!planned.ok) return planned;
      const { draft, answer } = planned.value;
      if (draft === undefined) return ok(answer(this.#state));
      const { change, after } = this.#complete(execution, draft);
      const value = answer(after);
      const request = storedRequest(execution, fingerprint, value);
      const written = await this.#store.commit(request === undefined ? change : { ...change, request });
      this.#writable = written.ok || written.error.kind !== "unavailable";
      if (written.ok) {
        this.#publish(after, change.snapshots);
        if (written.value.checkpointDue === true) await this.#store.saveCheckpoint(after);
        return ok(value);
      }
      if (written.error.kind === "too_large") return unavailable(written.error);
      const unread = await this.#catchUp();
      if (written.error.kind === "unavailable") return unavailable(written.error);
      if (unread !== undefined) return unavailable(unread);
      if (attempt > 1) await this.#pause(COLLISION_MS * attempt * this.#random());
    }
    return refuse("store_unavailable", "the store was changed by another process again and again");
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#clock.after(ms, resolve));
  }

  #complete(execution: Execution, draft: Parameters<typeof completeChange>[1]) {
    const context = { time: timestamp(this.#clock.now()), actor: execution.actor };
    const changed = (before: FederationState, after: FederationState, given: typeof draft) =>
      changedSnapshots(before, after, given, this.#root);
    // What was not compiled for this change has no digest of it.
    const onRevised = draft.allSnapshots === true ? undefined : keepDigest;
    return completeChange(this.#state, draft, context, changed, onRevised);
  }

  async #recall<A>(execution: Execution, fingerprint: string): Promise<Result<A, Refusal> | undefined> {
    if (execution.request === undefined) return undefined;
    const found = await this.#store.findRequest(execution.request.token);
    if (!found.ok) return unavailable(found.error);
    if (found.value === undefined) return undefined;
    if (found.value.fingerprint !== fingerprint)
      return refuse(
        "request_token_reused",
        `the token "${execution.request.token}" belongs to another request`,
      );
    // Our own answer of the first time.
    return ok(JSON.parse(found.value.response) as A);
  }

  /** Not backwards: while a change was being written, a read may have brought it and more. */
  #publish(next: FederationState, changed: readonly string[]): void {
    if (next.revision > this.#state.revision) this.#state = next;
    this.#onPublish(changed);
  }

  async #catchUp(): Promise<StoreFailure | undefined> {
    const known = this.#state;
    const revision = await this.#store.revision();
    if (!revision.ok) return revision.error;
    if (revision.value === known.revision) return undefined;
    // A lower one: an older copy was put in place of the store.
    if (revision.value < known.revision) return this.#reload();
    const changes = await this.#store.changesAfter(known.revision);
    if (!changes.ok) return changes.error;
    if (changes.value === undefined) return this.#reload();
    for (const change of changes.value) {
      if (change.baseRevision === this.#state.revision)
        this.#publish(applyLogged(this.#state, change), change.snapshots);
    }
    return undefined;
  }

  /** What is there now, whoever wrote it. */
  async #reload(): Promise<StoreFailure | undefined> {
    const loaded = await this.#store.load();
    if (!loaded.ok) return loaded.error;
    const before = this.#state;
    this.#state = loaded.value;
    const names = new Set([...before.clusters.keys(), ...loaded.value.clusters.keys()]);
    const revisionIn = (state: FederationState, name: string) => state.clusters.get(name)?.snapshotRevision;
    this.#onPublish([...names].filter((name) => revisionIn(before, name) !== revisionIn(loaded.value, name)));
    return undefined;
  }
}

function fingerprintOf(execution: Execution): string {
  return createHash("sha256")
    .update(`${execution.actor}\n${execution.request?.meaning ?? ""}`)
    .digest("hex");
}

function storedRequest(
  execution: Execution,
  fingerprint: string,
  answer: unknown,
): StoredRequest | undefined {
  const token = execution.request?.token;
  return token === undefined ? undefined : { token, fingerprint, response: JSON.stringify(answer) };
}

export function unavailable(failure: StoreFailure): { readonly ok: false; readonly error: Refusal } {
  return err({ problem: problemOf(failure) });
}

function problemOf(failure: StoreFailure): Problem {
  switch (failure.kind) {
    case "conflict":
      return { name: "store_unavailable", detail: "the store is being changed by another process" };
    case "too_large":
      return { name: "request_too_large", detail: failure.detail };
    case "unavailable":
      return { name: "store_unavailable", detail: failure.detail };
  }
}
