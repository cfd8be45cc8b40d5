// Longer than most: one question to the registry, from asking to keeping what came of it.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "../../federation/model/log.ts";
import { type Problem, PROBLEMS } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import type { Snapshot } from "../../federation/model/snapshot.ts";
import {
  DELTA_MANIPULATION,
  DELTA_MEDIA_TYPE,
  DIGEST_MEDIA_TYPE,
} from "../../federation/model/wire/snapshot-delta.ts";
import { verifySnapshot } from "../../federation/trust/index.ts";
import { createWatch, type PublishableWatch, type Watch } from "../dataplane/lifecycle/watch.ts";
import type { Clock, Random, Timer } from "../process/clock.ts";
import { errorCode, writeFileAtomic } from "./atomic-file.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { MemberClient, RequestFailure } from "./member-client.ts";
import { applyDelta } from "./snapshot-delta.ts";
import { judgeSnapshot } from "./snapshot-judge.ts";
import { SnapshotKeys } from "./snapshot-keys.ts";
import {
  initialPoll,
  mayWait,
  type PollEvent,
  type PollState,
  type SnapshotSourceStatus,
  statusOf,
  transition,
} from "./snapshot-poll.ts";

export interface SnapshotSource {
  /** `undefined`: never had one. */
  readonly snapshot: Watch<Snapshot | undefined>;
  readonly status: Watch<SnapshotSourceStatus>;
  stop(): void;
}

export interface SnapshotSourceOptions {
  /** Its keys may change while we run. */
  readonly state: Watch<
    Pick<ClusterState, "federation" | "cluster" | "trustDomain" | "snapshotKeys" | "bundles">
  >;
  readonly stateDir: string;
  readonly member: string;
  readonly client: MemberClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

// How long the registry may hold the question; under the idle timeouts of load balancers on the way (60 s).
const WAIT_S = 30;
const WAIT_GRACE_MS = 5000;
// Thousands of exports with their bundles stay far below it; beyond it lies a mistake or an attack.
const MAX_SNAPSHOT_BYTES = 32 * 1024 * 1024;
const KEEP_AGAIN_MS = 10_000;
const MAX_REFUSALS_REMEMBERED = 64;
/** 226 IM Used, RFC 3229. */
const DELTA_STATUS = 226;

interface Verified {
  readonly jws: string;
  readonly snapshot: Snapshot;
}

/** What lay on disk. */
interface Kept {
  readonly keys: SnapshotKeys;
  readonly verified?: Verified;
}

/**
 * The registry's word on what this cluster may do. It begins with the last good snapshot on disk, follows the registry
 * from there, and no answer of the registry, nor its silence, ever takes away what is in force.
 */
export async function openSnapshotSource(options: SnapshotSourceOptions): Promise<SnapshotSource> {
  const path = join(options.stateDir, `snapshot-${options.member}.jws`);
  return new PollingSource(options, path, await load(path, options));
}

/** The effects around `transition`: asks while it says so, waits while it says so. */
class PollingSource implements SnapshotSource {
  readonly snapshot: PublishableWatch<Snapshot | undefined>;
  readonly status: PublishableWatch<SnapshotSourceStatus>;
  readonly #options: SnapshotSourceOptions;
  readonly #refusals: RefusalLog;
  readonly #keys: SnapshotKeys;
  readonly #keeper: Keeper;
  readonly #abort = new AbortController();
  #poll: PollState;
  #timer: Timer | undefined;
  /** What is in force as it was signed: the base of deltas. */
  #signed: string | undefined;
  /** After a delta that led nowhere. */
  #wantsWhole = false;

  constructor(options: SnapshotSourceOptions, path: string, { keys, verified }: Kept) {
    const saved = verified?.snapshot;
    this.#signed = verified?.jws;
    this.#keys = keys;
    this.#options = options;
    this.#refusals = createRefusalLog(options.log);
    this.#keeper = createKeeper(path, options);
    this.#poll = initialPoll(options.clock.now(), saved?.revision);
    this.snapshot = createWatch(saved);
    this.status = createWatch(statusOf(this.#poll));
    this.#proceed();
  }

  stop(): void {
    this.#abort.abort();
    this.#timer?.cancel();
    this.#keeper.stop();
  }

  #proceed(): void {
    const { clock, log } = this.#options;
    const { phase } = this.#poll;
    if (phase.kind === "asking") {
      this.#ask().then(
        (event) => this.#apply(event),
        (error: unknown) => this.#apply(ourFault(error, log)),
      );
    } else {
      this.#timer = clock.after(phase.untilMs - clock.now(), () => this.#apply({ kind: "tick" }));
    }
  }

  #apply(event: PollEvent): void {
    if (this.#abort.signal.aborted) return;
    const { clock, random, log } = this.#options;
    const previous = this.#poll;
    this.#poll = transition(previous, event, clock.now(), random());
    if (this.#poll === previous) return;
    if (this.#poll.connected !== previous.connected) logConnection(log, this.#poll.connected, event);
    // A tick changes what we do, not what is known.
    if (event.kind !== "tick") this.status.publish(statusOf(this.#poll));
    this.#proceed();
  }

  async #ask(): Promise<PollEvent> {
    const base = this.#base();
    const answer = await askRegistry(this.#options, this.#poll, base !== undefined, this.#abort.signal);
    if ("kind" in answer) return answer;
    // Before anything is judged, so that a key that is new to us costs no snapshot.
    await this.#followKeys(answer.keySet);
    if (answer.text === undefined) return { kind: "unchanged" };
    const jws =
      answer.delta && base !== undefined
        ? applyDelta(answer.text, base, MAX_SNAPSHOT_BYTES)
        : ok(answer.text);
    const { current } = this.snapshot;
    const verified = jws.ok ? await verify(jws.value, this.#options, this.#keys, current?.revision) : jws;
    this.#wantsWhole = !verified.ok && answer.delta;
    if (!verified.ok) {
      this.#refusals.note(verified.error);
      return { kind: "refused", problem: verified.error };
    }
    this.#refusals.forget();
    if (!this.#abort.signal.aborted) this.#takeIntoForce(verified.value);
    return { kind: "accepted", revision: verified.value.snapshot.revision };
  }

  #base(): { readonly revision: number; readonly jws: string } | undefined {
    const revision = this.snapshot.current?.revision;
    if (this.#wantsWhole || this.#signed === undefined || revision === undefined) return undefined;
    return { revision, jws: this.#signed };
  }

  async #followKeys(sequence: string | undefined): Promise<void> {
    if (!(await this.#keys.follow(sequence)) || this.#signed === undefined) return;
    // A set that does not know the key of what is in force is kept with the snapshot that comes next: what lies on disk
    // must be believed at the next start.
    const believed = await verifySnapshot(this.#signed, this.#keys.current);
    if (believed.ok) this.#keepBoth(this.#signed);
  }

  #keepBoth(jws: string): void {
    const { text } = this.#keys;
    this.#keeper.keep(text === undefined ? jws : `${jws}\n${text}`);
  }

  /** The same revision has the same content: publishing it would only make everybody compile again. */
  #takeIntoForce({ jws, snapshot }: Verified): void {
    if (snapshot.revision === this.snapshot.current?.revision) return;
    this.#signed = jws;
    this.snapshot.publish(snapshot);
    this.#options.log.info("snapshot_applied", { revision: snapshot.revision });
    this.#keepBoth(jws);
  }
}

async function askRegistry(
  { client, state }: SnapshotSourceOptions,
  poll: PollState,
  takesDelta: boolean,
  signal: AbortSignal,
): Promise<PollEvent | Answered> {
  const { revision } = poll;
  const wait = mayWait(poll) ? WAIT_S : 0;
  const response = await client.request({
    method: "GET",
    path: `/v1/clusters/${state.current.cluster}/snapshot`,
    headers: {
      accept: `${DIGEST_MEDIA_TYPE}, application/jose, ${DELTA_MEDIA_TYPE}`,
      "accept-encoding": "gzip",
      ...(takesDelta ? { "a-im": DELTA_MANIPULATION } : {}),
      prefer: `wait=${wait}`,
      ...(revision === undefined ? {} : { "if-none-match": `"${revision}"` }),
    },
    timeoutMs: wait * 1000 + WAIT_GRACE_MS,
    maxBytes: MAX_SNAPSHOT_BYTES,
    signal,
  });
  if (!response.ok) return failed(response.error);
  const { status, text, keySet } = response.value;
  return { keySet, text: status === 304 ? undefined : text.trim(), delta: status === DELTA_STATUS };
}

interface Answered {
  /** Sequence of the registry's set of keys, as it says. */
  readonly keySet: string | undefined;
  /** `undefined`: nothing new. */
  readonly text: string | undefined;
  readonly delta: boolean;
}

function failed(error: RequestFailure): PollEvent {
  const event = { kind: "failed", problem: error, denied: saysNo(error) } as const;
  return error.retryAfterMs === undefined ? event : { ...event, retryAfterMs: error.retryAfterMs };
}

/** An answer about us, not about the registry's own state. */
function saysNo({ status }: RequestFailure): boolean {
  return status !== undefined && status >= 400 && status < 500 && status !== 408 && status !== 429;
}

async function verify(
  jws: string,
  { state }: SnapshotSourceOptions,
  keys: SnapshotKeys,
  revision: number | undefined,
): Promise<Result<Verified, Problem>> {
  const payload = await verifySnapshot(jws, keys.current);
  if (!payload.ok) return payload;
  const judged = judgeSnapshot(payload.value, state.current, revision);
  return judged.ok ? { ok: true, value: { jws, snapshot: judged.value } } : err(judged.error);
}

/**
 * What lies on disk is judged as strictly as what comes over the network. The second line, where there is one, is the
 * set of keys that the first one is signed with a key of: one file, so that no crash can part them.
 */
async function load(path: string, options: SnapshotSourceOptions): Promise<Kept> {
  let jws: string;
  let keySet: string | undefined;
  try {
    [jws = "", keySet] = (await readFile(path, "utf8")).trim().split("\n");
  } catch (error) {
    if (errorCode(error) !== "ENOENT") {
      options.log.warn("snapshot_file_unreadable", { file: path, reason: errorCode(error) });
    }
    return { keys: new SnapshotKeys(options) };
  }
  const keys = new SnapshotKeys(options, keySet);
  const verified = await verify(jws, options, keys, undefined);
  if (verified.ok) {
    options.log.info("snapshot_loaded", { revision: verified.value.snapshot.revision });
    return { keys, verified: verified.value };
  }
  const { name, detail } = verified.error;
  options.log.warn("snapshot_file_refused", { code: PROBLEMS[name].code, file: path, detail });
  return { keys };
}

/**
 * Writes one after the other, the newest last. What cannot be written costs nothing but the next start: it is told once, and
 * tried again until it stands on disk, since the next change may be days away.
 */
function createKeeper(path: string, { log, clock }: SnapshotSourceOptions): Keeper {
  let last = Promise.resolve();
  let newest = "";
  let failing = "";
  let retry: Timer | undefined;
  const keep = (text: string): void => {
    newest = text;
    retry?.cancel();
    last = last.then(async () => {
      const written = await writeFileAtomic(path, `${text}\n`);
      if (!written.ok && text === newest) retry = clock.after(KEEP_AGAIN_MS, () => keep(text));
      if (written.ok) {
        if (failing !== "") log.info("snapshot_kept", { file: path });
        failing = "";
      } else if (failing !== written.error.detail) {
        failing = written.error.detail;
        const { code, fix } = PROBLEMS[written.error.name];
        log.error("snapshot_not_kept", { code, detail: failing, fix });
      }
    });
  };
  return { keep, stop: () => retry?.cancel() };
}

interface Keeper {
  readonly keep: (jws: string) => void;
  readonly stop: () => void;
}

interface RefusalLog {
  note(problem: Problem): void;
  forget(): void;
}

/** A registry that repeats a bad snapshot every second must not fill the log. */
function createRefusalLog(log: Logger): RefusalLog {
  const seen = new Set<string>();
  return {
    note({ name, detail }) {
      const key = `${name} ${detail}`;
      if (seen.has(key)) return;
      if (seen.size < MAX_REFUSALS_REMEMBERED) seen.add(key);
      log.error("snapshot_refused", { code: PROBLEMS[name].code, title: PROBLEMS[name].title, detail });
    },
    forget: () => seen.clear(),
  };
}

function logConnection(log: Logger, connected: boolean, event: PollEvent): void {
  if (connected) log.info("registry_connected");
  else if (event.kind === "failed") {
    log.warn("registry_lost", { code: PROBLEMS[event.problem.name].code, detail: event.problem.detail });
  }
}

function ourFault(error: unknown, log: Logger): PollEvent {
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  log.error("internal_fault", { code: PROBLEMS.internal.code, detail });
  return { kind: "failed", problem: { name: "internal", detail }, denied: true };
}
