import type { JSONWebKeySet } from "jose";
import type { Logger } from "../../federation/model/log.ts";
import { PROBLEMS } from "../../federation/model/problem.ts";
import { type KeySet, verifyKeySet } from "../../federation/trust/index.ts";
import type { Watch } from "../dataplane/lifecycle/watch.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { MemberClient } from "./member-client.ts";

export interface SnapshotKeysOptions {
  readonly state: Watch<Pick<ClusterState, "federation" | "trustDomain" | "snapshotKeys" | "bundles">>;
  readonly client: MemberClient;
  readonly log: Logger;
}

/**
 * The keys that this member believes snapshots of: those that it joined with, until the federation's root vouches for
 * others. A set that is newer takes the place of the one before whole; an older one never does.
 */
export class SnapshotKeys {
  readonly #options: SnapshotKeysOptions;
  #held: { readonly set: KeySet; readonly text: string } | undefined;
  /** Why the last one was refused: told once. */
  #refused = "";

  /** `kept`: the set that lies beside the snapshot on disk. */
  constructor(options: SnapshotKeysOptions, kept?: string) {
    this.#options = options;
    if (kept !== undefined) this.#take(kept);
  }

  get current(): JSONWebKeySet {
    return this.#held?.set.keys ?? this.#options.state.current.snapshotKeys;
  }

  /** As the root signed it, to be kept; `undefined`: the keys are those of the join. */
  get text(): string | undefined {
    return this.#held?.text;
  }

  /** `sequence`: of the registry's set, as it says; answers whether there are other keys than before. */
  async follow(sequence: string | undefined): Promise<boolean> {
    const told = /^[0-9]{1,16}$/.test(sequence ?? "") ? Number(sequence) : 0;
    if (told <= this.#sequence) return false;
    const answer = await this.#options.client.request({ method: "GET", path: "/v1/snapshot-keys" });
    // Where there was none, the next answer says it again.
    return answer.ok && this.#take(answer.value.text.trim());
  }

  get #sequence(): number {
    return this.#held?.set.sequence ?? 0;
  }

  #take(text: string): boolean {
    const { state, log } = this.#options;
    const { federation, trustDomain, bundles } = state.current;
    const roots = bundles.find((bundle) => bundle.trustDomain === trustDomain)?.x509Authorities ?? [];
    const verified = verifyKeySet(text, { federation, roots });
    if (!verified.ok) {
      const { name, detail } = verified.error;
      if (this.#refused !== detail) log.error("snapshot_keys_refused", { code: PROBLEMS[name].code, detail });
      this.#refused = detail;
      return false;
    }
    const { sequence, keys } = verified.value;
    if (sequence <= this.#sequence) return false;
    this.#refused = "";
    this.#held = { set: verified.value, text };
    log.info("snapshot_keys_taken", { sequence, keys: keys.keys.map(({ kid = "" }) => kid).join(" ") });
    return true;
  }
}
