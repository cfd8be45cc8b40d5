import { createHash } from "node:crypto";
import type { Problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { completeChange, type Planned, type Refusal, type StoredRequest } from "./change.ts";
import { changedSnapshots } from "./changed-snapshots.ts";
import { type Clock, timestamp } from "./clock.ts";
import type { RootBundle } from "./compile-snapshot.ts";
import { refuse } from "./plan/refuse.ts";
import type { FederationState } from "./state.ts";
import type { RegistryStore, StoreFailure } from "./store.ts";

/** Changes wait for each other; a line this long means that the disk does not keep up. */
const MAX_WAITING = 1_000;
/** Another process changed the store between planning and writing; more often than this is no accident. */
const MAX_ATTEMPTS = 5;

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
  readonly #root: RootBundle;
  readonly #onPublish: (changedSnapshots: readonly string[]) => void;
  #state: FederationState;
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #writable = true;

  constructor(
    deps: { readonly store: RegistryStore; readonly clock: Clock; readonly root: RootBundle },
    initial: FederationState,
    onPublish: (changedSnapshots: readonly string[]) => void,
  ) {
    this.#store = deps.store;
    this.#clock = deps.clock;
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
    const repeated = await this.#recall<A>(execution, fingerprint);
    if (repeated !== undefined) return repeated;
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      const planned = plan(this.#state);
      if (!planned.ok) return planned;
      const { draft, answer } = planned.value;
      if (draft === undefined) return ok(answer(this.#state));
      const { change, after } = this.#complete(execution, draft);
      const value = answer(after);
      const request = storedRequest(execution, fingerprint, value);
      const written = await this.#store.commit(request === undefined ? change : { ...change, request });
      this.#writable = written.ok || written.error.kind === "conflict";
      if (written.ok) {
        this.#publish(after, change.snapshots);
        return ok(value);
      }
      const reloaded = await this.#reload();
      if (written.error.kind === "unavailable") return unavailable(written.error);
      if (reloaded !== undefined) return unavailable(reloaded);
    }
    return refuse("store_unavailable", "the store was changed by another process again and again");
  }

  #complete(execution: Execution, draft: Parameters<typeof completeChange>[1]) {
    const context = { time: timestamp(this.#clock.now()), actor: execution.actor };
    return completeChange(this.#state, draft, context, (before, after, given) =>
      changedSnapshots(before, after, given, this.#root),
    );
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

  #publish(next: FederationState, changed: readonly string[]): void {
    this.#state = next;
    this.#onPublish(changed);
  }

  /** After a write that failed: what is there now, whoever wrote it. Answers why, where even that cannot be read. */
  async #reload(): Promise<StoreFailure | undefined> {
    const loaded = await this.#store.load();
    if (!loaded.ok) return loaded.error;
    const before = this.#state;
    if (loaded.value.revision === before.revision) return undefined;
    const changed = [...loaded.value.clusters.values()].filter(
      ({ record, snapshotRevision }) =>
        before.clusters.get(record.name)?.snapshotRevision !== snapshotRevision,
    );
    this.#publish(
      loaded.value,
      changed.map(({ record }) => record.name),
    );
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
  const problem: Problem = {
    name: "store_unavailable",
    detail: failure.kind === "unavailable" ? failure.detail : "the store is being changed by another process",
  };
  return err({ problem });
}
