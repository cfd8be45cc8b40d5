import type { MemberReport, MemberStatus } from "../model/resource.ts";
import { type Clock, timestamp } from "./clock.ts";
import { compareText } from "./compile-snapshot.ts";
import type { RegistryStore, Stored, StoredMember } from "./store.ts";
import { err, ok } from "../model/result.ts";

const MAX_MEMBERS_PER_CLUSTER = 1_000;
/** Thousands of heartbeats become one write a second. */
const FLUSH_MS = 1_000;
/**
 * In a shared store each heartbeat would be a write that is paid for: one that says the same again is left out this
 * long, so that a member never looks silent (30 s) for it.
 */
const REPEATED_MS = 15_000;

/** What members last said of themselves. */
export interface MemberDirectory {
  list(cluster: string): Stored<readonly MemberStatus[]>;
  all(): Stored<ReadonlyMap<string, readonly MemberStatus[]>>;
  /** False where the cluster has too many members for one more. */
  report(cluster: string, member: string, report: MemberReport): Stored<boolean>;
  /** Without `member`: all of the cluster's. */
  forget(cluster: string, member?: string): Promise<void>;
  flush(): Promise<void>;
}

export function openMemberDirectory(
  store: RegistryStore,
  clock: Clock,
  known: readonly StoredMember[],
): MemberDirectory {
  return store.shared ? new SharedDirectory(store, clock) : new OwnDirectory(store, clock, known);
}

type Members = Map<string, Map<string, MemberStatus>>;

function membersOf(clusters: Members, cluster: string): Map<string, MemberStatus> {
  const known = clusters.get(cluster);
  if (known !== undefined) return known;
  const members = new Map<string, MemberStatus>();
  clusters.set(cluster, members);
  return members;
}

function sorted(members: Iterable<MemberStatus>): readonly MemberStatus[] {
  return [...members].sort((a, b) => compareText(a.member, b.member));
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
    for (const { cluster, status } of known) membersOf(this.#clusters, cluster).set(status.member, status);
  }

  async list(cluster: string): Stored<readonly MemberStatus[]> {
    return ok(sorted(this.#clusters.get(cluster)?.values() ?? []));
  }

  async all(): Stored<ReadonlyMap<string, readonly MemberStatus[]>> {
    return ok(new Map([...this.#clusters].map(([name, members]) => [name, sorted(members.values())])));
  }

  async report(cluster: string, member: string, report: MemberReport): Stored<boolean> {
    const members = membersOf(this.#clusters, cluster);
    if (!members.has(member) && members.size >= MAX_MEMBERS_PER_CLUSTER) return ok(false);
    const status = { ...report, member, lastSeen: timestamp(this.#clock.now()) };
    members.set(member, status);
    this.#unsaved.set(`${cluster}/${member}`, { cluster, status });
    this.#flush ??= this.#clock.after(FLUSH_MS, () => void this.flush());
    return ok(true);
  }

  async forget(cluster: string, member?: string): Promise<void> {
    if (member === undefined) this.#clusters.delete(cluster);
    else this.#clusters.get(cluster)?.delete(member);
    for (const [key, unsaved] of this.#unsaved) {
      if (unsaved.cluster === cluster && (member === undefined || unsaved.status.member === member))
        this.#unsaved.delete(key);
    }
    await this.#store.forgetMembers(cluster, member);
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
    return read.ok ? ok(sorted(read.value.map(({ status }) => status))) : read;
  }

  async all(): Stored<ReadonlyMap<string, readonly MemberStatus[]>> {
    const read = await this.#store.members();
    if (!read.ok) return read;
    const clusters: Members = new Map();
    for (const { cluster, status } of read.value) membersOf(clusters, cluster).set(status.member, status);
    return ok(new Map([...clusters].map(([name, members]) => [name, sorted(members.values())])));
  }

  async report(cluster: string, member: string, report: MemberReport): Stored<boolean> {
    const seen = membersOf(this.#seen, cluster);
    if (!seen.has(member)) {
      const read = await this.#store.members(cluster);
      if (!read.ok) return read;
      for (const { status } of read.value) seen.set(status.member, status);
      if (!seen.has(member) && seen.size >= MAX_MEMBERS_PER_CLUSTER) return ok(false);
    }
    const now = this.#clock.now();
    const previous = seen.get(member);
    if (previous !== undefined && now - Date.parse(previous.lastSeen) < REPEATED_MS) {
      const { member: _member, lastSeen: _lastSeen, ...said } = previous;
      if (sameJson(said, report)) return ok(true);
    }
    const status = { ...report, member, lastSeen: timestamp(now) };
    const saved = await this.#store.saveMembers([{ cluster, status }]);
    if (!saved.ok) return err(saved.error);
    seen.set(member, status);
    return ok(true);
  }

  async forget(cluster: string, member?: string): Promise<void> {
    if (member === undefined) this.#seen.delete(cluster);
    else this.#seen.get(cluster)?.delete(member);
    await this.#store.forgetMembers(cluster, member);
  }

  async flush(): Promise<void> {
    // Nothing is held back.
  }
}

/** Equal but for the order of members, which a detour through a store may change. */
function sameJson(a: object, b: object): boolean {
  const text = (value: object): string =>
    JSON.stringify(Object.entries(value).sort(([x], [y]) => compareText(x, y)));
  return text(a) === text(b);
}
