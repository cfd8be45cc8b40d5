import type { MemberReport, MemberStatus } from "../model/resource.ts";
import { type Clock, timestamp } from "./clock.ts";
import { compareText } from "./compile-snapshot.ts";
import type { RegistryStore, Stored, StoredMember } from "./store.ts";
import { ok } from "../model/result.ts";

const MAX_MEMBERS_PER_CLUSTER = 1_000;
/** Thousands of heartbeats become one write a second. */
const FLUSH_MS = 1_000;
/**
 * In a shared store each heartbeat would be a write that is paid for: one that says the same again is left out this
 * long, so that a member never looks silent (30 s) for it.
 */
const REPEATED_MS = 15_000;

/** `full`: the cluster has too many members for one more. `late`: what was signed later, or just this, was taken before. */
export type Reported = "taken" | "full" | "late";

/** What members last said of themselves. */
export interface MemberDirectory {
  list(cluster: string): Stored<readonly MemberStatus[]>;
  all(): Stored<ReadonlyMap<string, readonly MemberStatus[]>>;
  /** `sequence` is that of the signature: an earlier report never takes the place of a later one. */
  report(cluster: string, member: string, report: MemberReport, sequence: number): Stored<Reported>;
  /** Without `member`: all of the cluster's. What the member signed until now is not taken any more. */
  forget(cluster: string, member?: string): Stored<void>;
  flush(): Promise<void>;
}

export function openMemberDirectory(
  store: RegistryStore,
  clock: Clock,
  known: readonly StoredMember[],
): MemberDirectory {
  return store.shared ? new SharedDirectory(store, clock) : new OwnDirectory(store, clock, known);
}

type Members = Map<string, Map<string, StoredMember>>;

function membersOf(clusters: Members, cluster: string): Map<string, StoredMember> {
  const known = clusters.get(cluster);
  if (known !== undefined) return known;
  const members = new Map<string, StoredMember>();
  clusters.set(cluster, members);
  return members;
}

function sorted(members: Iterable<StoredMember>): readonly MemberStatus[] {
  return [...members]
    .flatMap(({ status }) => (status === undefined ? [] : [status]))
    .sort((a, b) => compareText(a.member, b.member));
}

/** What a report leads to, by what is known of the cluster. */
function judge(known: ReadonlyMap<string, StoredMember>, member: string, sequence: number): Reported {
  const previous = known.get(member);
  if (previous !== undefined) return sequence > previous.sequence ? "taken" : "late";
  const members = [...known.values()].filter(({ status }) => status !== undefined);
  return members.length < MAX_MEMBERS_PER_CLUSTER ? "taken" : "full";
}

/** In place of a member: later than all that it signed, also than what repeated the last report and was left out. */
function forgotten({ cluster, member, sequence }: StoredMember): StoredMember {
  return { cluster, member, sequence: sequence + REPEATED_MS };
}

/**
 * Of a store that is ours alone: known here, and written behind. After a crash a member may look a second older than it
 * is, and says so again within one heartbeat.
 */
class OwnDirectory implements MemberDirectory {
  readonly #store: RegistryStore;
  readonly #clock: Clock;
  readonly #clusters: Members = new Map();
  #unsaved = new Map<string, StoredMember>();
  #flush: { cancel(): void } | undefined;

  constructor(store: RegistryStore, clock: Clock, known: readonly StoredMember[]) {
    this.#store = store;
    this.#clock = clock;
    for (const one of known) membersOf(this.#clusters, one.cluster).set(one.member, one);
  }

  async list(cluster: string): Stored<readonly MemberStatus[]> {
    return ok(sorted(this.#clusters.get(cluster)?.values() ?? []));
  }

  async all(): Stored<ReadonlyMap<string, readonly MemberStatus[]>> {
    return ok(new Map([...this.#clusters].map(([name, members]) => [name, sorted(members.values())])));
  }

  async report(cluster: string, member: string, report: MemberReport, sequence: number): Stored<Reported> {
    const members = membersOf(this.#clusters, cluster);
    const judged = judge(members, member, sequence);
    if (judged !== "taken") return ok(judged);
    const status = { ...report, member, lastSeen: timestamp(this.#clock.now()) };
    const stored = { cluster, member, sequence, status };
    members.set(member, stored);
    this.#unsaved.set(`${cluster}/${member}`, stored);
    this.#flush ??= this.#clock.after(FLUSH_MS, () => void this.flush());
    return ok("taken");
  }

  async forget(cluster: string, member?: string): Stored<void> {
    if (member !== undefined) {
      const members = membersOf(this.#clusters, cluster);
      const known = members.get(member);
      if (known === undefined) return ok(undefined);
      members.set(member, forgotten(known));
      this.#unsaved.delete(`${cluster}/${member}`);
      const saved = await this.#store.saveMembers([forgotten(known)]);
      return saved.ok ? ok(undefined) : saved;
    }
    this.#clusters.delete(cluster);
    for (const [key, unsaved] of this.#unsaved) if (unsaved.cluster === cluster) this.#unsaved.delete(key);
    return this.#store.forgetMembers(cluster);
  }

  /** Unsaved reports that cannot be written now go with the next ones. */
  async flush(): Promise<void> {
    this.#flush?.cancel();
    this.#flush = undefined;
    const batch = this.#unsaved;
    if (batch.size === 0) return;
    this.#unsaved = new Map();
    const saved = await this.#store.saveMembers([...batch.values()]);
    if (saved.ok) return;
    for (const [key, member] of batch) if (!this.#unsaved.has(key)) this.#unsaved.set(key, member);
  }
}

/** Of a store that others write to as well: nothing is known but what it says, and an instance may end at any time. */
class SharedDirectory implements MemberDirectory {
  readonly #store: RegistryStore;
  readonly #clock: Clock;
  /** What this instance wrote or read last: only to leave out repetitions. */
  readonly #seen: Members = new Map();

  constructor(store: RegistryStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  async list(cluster: string): Stored<readonly MemberStatus[]> {
    const read = await this.#store.members(cluster);
    return read.ok ? ok(sorted(read.value)) : read;
  }

  async all(): Stored<ReadonlyMap<string, readonly MemberStatus[]>> {
    const read = await this.#store.members();
    if (!read.ok) return read;
    const clusters: Members = new Map();
    for (const one of read.value) membersOf(clusters, one.cluster).set(one.member, one);
    return ok(new Map([...clusters].map(([name, members]) => [name, sorted(members.values())])));
  }

  async report(cluster: string, member: string, report: MemberReport, sequence: number): Stored<Reported> {
    const seen = membersOf(this.#seen, cluster);
    if (!seen.has(member)) {
      const read = await this.#read(cluster);
      if (!read.ok) return read;
    }
    const judged = judge(seen, member, sequence);
    if (judged !== "taken") return ok(judged);
    const previous = seen.get(member);
    // By when they were signed: one that is played back to another instance is left out there too.
    if (previous?.status !== undefined && sequence - previous.sequence < REPEATED_MS) {
      const { member: _member, lastSeen: _lastSeen, ...said } = previous.status;
      if (sameJson(said, report)) return ok("taken");
    }
    const status = { ...report, member, lastSeen: timestamp(this.#clock.now()) };
    const stored = { cluster, member, sequence, status };
    const saved = await this.#store.saveMembers([stored]);
    if (!saved.ok) return saved;
    // Another instance took a later one, or it was forgotten: read again when it is asked for next.
    if (!saved.value) {
      seen.delete(member);
      return ok("late");
    }
    seen.set(member, stored);
    return ok("taken");
  }

  async forget(cluster: string, member?: string): Stored<void> {
    if (member === undefined) {
      this.#seen.delete(cluster);
      return this.#store.forgetMembers(cluster);
    }
    const read = await this.#read(cluster);
    if (!read.ok) return read;
    const known = this.#seen.get(cluster)?.get(member);
    this.#seen.get(cluster)?.delete(member);
    if (known === undefined) return ok(undefined);
    const saved = await this.#store.saveMembers([forgotten(known)]);
    return saved.ok ? ok(undefined) : saved;
  }

  async flush(): Promise<void> {
    // Nothing is held back.
  }

  async #read(cluster: string): Stored<void> {
    const read = await this.#store.members(cluster);
    if (!read.ok) return read;
    const seen = membersOf(this.#seen, cluster);
    for (const one of read.value) seen.set(one.member, one);
    return ok(undefined);
  }
}

/** Equal but for the order of members, which a detour through a store may change. */
function sameJson(a: object, b: object): boolean {
  const text = (value: object): string =>
    JSON.stringify(Object.entries(value).sort(([x], [y]) => compareText(x, y)));
  return text(a) === text(b);
}
