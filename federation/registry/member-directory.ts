import type { MemberReport, MemberStatus } from "../model/resource.ts";
import { type Clock, timestamp } from "./clock.ts";
import { compareText } from "./compile-snapshot.ts";
import type { RegistryStore, StoredMember } from "./store.ts";

const MAX_MEMBERS_PER_CLUSTER = 1_000;
/** Thousands of heartbeats become one write a second. */
const FLUSH_MS = 1_000;

/**
 * What members last said of themselves. It is written behind: after a crash a member may look a second older than it
 * is, and says so again within one heartbeat.
 */
export class MemberDirectory {
  readonly #store: RegistryStore;
  readonly #clock: Clock;
  readonly #clusters = new Map<string, Map<string, MemberStatus>>();
  #unsaved = new Map<string, StoredMember>();
  #flush: { cancel(): void } | undefined;

  constructor(store: RegistryStore, clock: Clock, known: readonly StoredMember[]) {
    this.#store = store;
    this.#clock = clock;
    for (const { cluster, status } of known) this.#of(cluster).set(status.member, status);
  }

  list(cluster: string): readonly MemberStatus[] {
    return [...(this.#clusters.get(cluster)?.values() ?? [])].sort((a, b) => compareText(a.member, b.member));
  }

  /** False where the cluster has too many members for one more. */
  report(cluster: string, member: string, report: MemberReport): boolean {
    const members = this.#of(cluster);
    if (!members.has(member) && members.size >= MAX_MEMBERS_PER_CLUSTER) return false;
    const status = { ...report, member, lastSeen: timestamp(this.#clock.now()) };
    members.set(member, status);
    this.#unsaved.set(`${cluster}/${member}`, { cluster, status });
    this.#flush ??= this.#clock.after(FLUSH_MS, () => void this.flush());
    return true;
  }

  /** Without `member`: all of the cluster's. */
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

  #of(cluster: string): Map<string, MemberStatus> {
    const known = this.#clusters.get(cluster);
    if (known !== undefined) return known;
    const members = new Map<string, MemberStatus>();
    this.#clusters.set(cluster, members);
    return members;
  }
}
