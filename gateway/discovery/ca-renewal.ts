import { join } from "node:path";
import type { Logger } from "../../federation/model/log.ts";
import { type Problem, PROBLEMS } from "../../federation/model/problem.ts";
import type { Result } from "../../federation/model/result.ts";
import { createWatch, type Watch } from "../dataplane/lifecycle/watch.ts";
import type { Clock, Random, Timer } from "../process/clock.ts";
import {
  type ClusterState,
  isCaReplaced,
  type Membership,
  readClusterState,
  readMembership,
} from "./cluster-state.ts";
import { withFileLock } from "./file-lock.ts";
import type { MemberClient } from "./member-client.ts";
import { renewClusterCa, shouldRenewCa } from "./membership.ts";

export interface MembershipSource<S extends Membership> {
  readonly state: Watch<S>;
  stop(): void;
}

export interface ClusterStateSource extends MembershipSource<ClusterState> {
  /** Agents only watch; a gateway also renews. */
  startRenewing(client: MemberClient): void;
}

export interface MembershipSourceOptions<S extends Membership> {
  readonly stateDir: string;
  readonly initial: S;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

// The directory is shared: another process may have renewed. With lives of months a minute's delay is nothing.
const MAX_CHECK_MS = 60_000;
const MIN_CHECK_MS = 100;
const CHECKS_PER_LIFE = 40;

/** Follows the cluster's CA through its renewals, by this process or another one of the cluster. */
export function openClusterStateSource(options: MembershipSourceOptions<ClusterState>): ClusterStateSource {
  const { stateDir, clock, random, log } = options;
  // One draw for the life of the process: a new one at each check would only make renewal early.
  const jitter = random();
  let client: MemberClient | undefined;
  const renew = (current: ClusterState, through: MemberClient) =>
    withFileLock(join(stateDir, "renew.lock"), { clock }, async () => {
      const latest = readClusterState(stateDir);
      const done = latest.ok && !shouldRenewCa(latest.value.ca, clock.now(), jitter);
      return done ? latest : renewClusterCa({ stateDir, state: current, client: through, clock });
    });
  const source = follow(options, readClusterState, async (current) => {
    if (client === undefined || !shouldRenewCa(current.ca, clock.now(), jitter)) return undefined;
    const renewed = await renew(current, client);
    if (renewed.ok) return renewed.value;
    const { name, detail } = renewed.error;
    const notAfter = new Date(current.ca.notAfterMs).toISOString();
    log.error("cluster_ca_not_renewed", { code: PROBLEMS[name].code, detail, notAfter });
    return undefined;
  });
  return {
    ...source,
    startRenewing(through) {
      client = through;
    },
  };
}

/** The same for a process that does not hold the CA's key: others renew. */
export function openMembershipSource(
  options: MembershipSourceOptions<Membership>,
): MembershipSource<Membership> {
  return follow(options, readMembership, async () => undefined);
}

function follow<S extends Membership>(
  { stateDir, initial, clock, random, log }: MembershipSourceOptions<S>,
  read: (stateDir: string) => Result<S, Problem>,
  renew: (current: S) => Promise<S | undefined>,
): MembershipSource<S> {
  const state = createWatch(initial);
  let timer: Timer | undefined;
  let stopped = false;
  const publishIfNew = (next: S): void => {
    if (next.ca.certificatePem === state.current.ca.certificatePem) return;
    log.info("cluster_ca_renewed", { notAfter: new Date(next.ca.notAfterMs).toISOString() });
    state.publish(next);
  };
  const check = async (): Promise<void> => {
    if (isCaReplaced(stateDir, state.current.ca)) {
      const found = read(stateDir);
      if (found.ok) publishIfNew(found.value);
    }
    const renewed = await renew(state.current);
    if (renewed !== undefined && !stopped) publishIfNew(renewed);
    if (!stopped) schedule();
  };
  const schedule = (): void => {
    const life = state.current.ca.notAfterMs - state.current.ca.notBeforeMs;
    const everyMs = Math.min(MAX_CHECK_MS, Math.max(MIN_CHECK_MS, life / CHECKS_PER_LIFE));
    timer = clock.after(everyMs * (0.75 + random() / 4), () => void check());
  };
  schedule();
  return {
    state,
    stop() {
      stopped = true;
      timer?.cancel();
    },
  };
}
