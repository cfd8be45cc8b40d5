import type { KeyObject } from "node:crypto";
import { join } from "node:path";
import type { Logger } from "../../federation/model/log.ts";
import { type Problem, PROBLEMS } from "../../federation/model/problem.ts";
import { ok, type Result } from "../../federation/model/result.ts";
import { isKeyOf, parseCsr } from "../../federation/trust/index.ts";
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
import { renewClusterCa, renewWithCsr, shouldRenewCa } from "./membership.ts";

export interface MembershipSource<S extends Membership> {
  readonly state: Watch<S>;
  stop(): void;
}

export interface RenewingSource<S extends Membership> extends MembershipSource<S> {
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
// Somebody waits for the certificate of a new request.
const REQUEST_CHECK_MS = 5_000;
const RETRY_MS = 30_000;
const MIN_CHECK_MS = 100;
const CHECKS_PER_LIFE = 40;

/** Follows the cluster's CA through its renewals, by this process or another one of the cluster. */
export function openClusterStateSource(
  options: MembershipSourceOptions<ClusterState>,
): RenewingSource<ClusterState> {
  const { stateDir, clock } = options;
  return openRenewing(options, {
    everyMs: MAX_CHECK_MS,
    read: readClusterState,
    isDue: () => false,
    renew: (state, client) => renewClusterCa({ stateDir, state, client, clock }),
  });
}

/**
 * The same where the CA's key is with somebody else: `csr` is the request that was made with it, which can be certified anew
 * without the key. One that changes to another key is certified at once, beside the CA in use.
 */
export function openCertifiedSource(
  options: MembershipSourceOptions<Membership>,
  csr: () => Result<string, Problem>,
): RenewingSource<Membership> {
  const { stateDir, clock } = options;
  // Judged when it changes, not whenever it differs: of two gateways one learns of it first, and they must not turn it back.
  let seen: string | undefined;
  const requested = (): Result<{ readonly csrPem: string; readonly publicKey: KeyObject }, Problem> => {
    const found = csr();
    if (!found.ok) return found;
    const parsed = parseCsr(found.value);
    return parsed.ok ? ok({ csrPem: found.value, publicKey: parsed.value.publicKey }) : parsed;
  };
  return openRenewing(options, {
    everyMs: REQUEST_CHECK_MS,
    read: readMembership,
    isDue({ ca }) {
      const request = requested();
      // Also one that cannot be used: renewing says why.
      if (!request.ok) return true;
      const { csrPem, publicKey } = request.value;
      if (isKeyOf(ca, publicKey)) seen = csrPem;
      return csrPem !== seen;
    },
    async renew(state, client) {
      const request = requested();
      if (!request.ok) return request;
      const { csrPem } = request.value;
      const renewed = await renewWithCsr({ stateDir, state, client, clock, csrPem });
      if (renewed.ok) seen = csrPem;
      return renewed;
    },
  });
}

interface Renewal<S extends Membership> {
  readonly everyMs: number;
  readonly read: (stateDir: string) => Result<S, Problem>;
  /** For another reason than its age. */
  readonly isDue: (state: S) => boolean;
  readonly renew: (state: S, client: MemberClient) => Promise<Result<S, Problem>>;
}

function openRenewing<S extends Membership>(
  options: MembershipSourceOptions<S>,
  renewal: Renewal<S>,
): RenewingSource<S> {
  const { stateDir, clock, random, log } = options;
  const { read, everyMs } = renewal;
  // One draw for the life of the process: a new one at each check would only make renewal early.
  const jitter = random();
  let client: MemberClient | undefined;
  let complaint = "";
  let retryAtMs = 0;
  const isDue = (state: S): boolean => shouldRenewCa(state.ca, clock.now(), jitter) || renewal.isDue(state);
  const renew = (current: S, through: MemberClient): Promise<Result<S, Problem>> =>
    withFileLock(join(stateDir, "renew.lock"), { clock }, async () => {
      const latest = read(stateDir);
      return latest.ok && !isDue(latest.value) ? latest : renewal.renew(current, through);
    });
  const source = follow(options, everyMs, read, async (current) => {
    if (client === undefined || clock.now() < retryAtMs || !isDue(current)) return undefined;
    const renewed = await renew(current, client);
    if (renewed.ok) {
      complaint = "";
      return renewed.value;
    }
    retryAtMs = clock.now() + Math.min(RETRY_MS, lifeOf(current) / CHECKS_PER_LIFE);
    const { name, detail } = renewed.error;
    const notAfter = new Date(current.ca.notAfterMs).toISOString();
    if (detail !== complaint)
      log.error("cluster_ca_not_renewed", { code: PROBLEMS[name].code, detail, notAfter });
    complaint = detail;
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
  return follow(options, MAX_CHECK_MS, readMembership, async () => undefined);
}

function follow<S extends Membership>(
  { stateDir, initial, clock, random, log }: MembershipSourceOptions<S>,
  maxCheckMs: number,
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
    const everyMs = Math.min(maxCheckMs, Math.max(MIN_CHECK_MS, lifeOf(state.current) / CHECKS_PER_LIFE));
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

function lifeOf({ ca }: Membership): number {
  return ca.notAfterMs - ca.notBeforeMs;
}
