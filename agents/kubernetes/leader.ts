import type { Logger } from "../../federation/model/log.ts";
import { type Problem, PROBLEMS } from "../../federation/model/problem.ts";
import { createWatch, type PublishableWatch, type Watch } from "../../gateway/dataplane/index.ts";
import type { Clock, Random, Timer } from "../../gateway/process/clock.ts";
import type { KubeClient } from "./api/client.ts";
import { type ApiFailure, problemOf } from "./api/failure.ts";
import { asKubeObject, type KubeObject } from "./api/object.ts";
import { apiVersionOf, LEASES, pathOf } from "./api/resource-type.ts";
import { fieldsOf, integer, text } from "./digest/fields.ts";

export interface LeaderOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Name of the Lease. */
  readonly name: string;
  /** Who we are: unique among all candidates, over restarts too. */
  readonly identity: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface Leader {
  readonly leading: Watch<boolean>;
  /** Why it cannot ask for the Lease, or keep it. */
  readonly problem: Problem | undefined;
  start(): void;
  /** Gives the Lease back, so that a successor need not wait for its end. */
  stop(): Promise<void>;
}

export const LEASE_SECONDS = 15;
// Given up well before others may take it: between our last good renewal and theirs nobody leads.
const RENEW_DEADLINE_MS = 10_000;
const RETRY_MS = 2_000;

/** What a candidate knows of the Lease; times are its own clock's, because the holder's may be wrong. */
export interface LeaseView {
  readonly holder: string | undefined;
  /** Changes with every renewal. */
  readonly mark: string;
  readonly seenAtMs: number;
  readonly durationMs: number;
}

/** Whether a candidate may take the Lease. A mark that has not changed for its whole duration *by our clock* is dead. */
export function mayTake(view: LeaseView | undefined, identity: string, now: number): boolean {
  if (view === undefined || view.holder === undefined || view.holder === identity) return true;
  return now - view.seenAtMs >= view.durationMs;
}

/** One of several processes leads: the holder of a Lease. */
export function createLeader(options: LeaderOptions): Leader {
  return new LeaseCandidate(options);
}

class LeaseCandidate implements Leader {
  readonly leading: PublishableWatch<boolean> = createWatch(false);
  readonly #options: LeaderOptions;
  #view: LeaseView | undefined;
  #lease: KubeObject | undefined;
  #renewedAtMs = 0;
  #timer: Timer | undefined;
  #stopped = false;
  problem: Problem | undefined;

  constructor(options: LeaderOptions) {
    this.#options = options;
  }

  start(): void {
    void this.#round();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    if (!this.leading.current) return;
    this.leading.publish(false);
    await this.#write("", LEASE_SECONDS);
  }

  async #round(): Promise<void> {
    const { clock, random, log, identity } = this.#options;
    const held = await this.#tryHold();
    if (this.#stopped) return;
    const now = clock.now();
    if (held) this.#renewedAtMs = now;
    const lost = this.leading.current && now - this.#renewedAtMs > RENEW_DEADLINE_MS;
    if (held && !this.leading.current) {
      log.info("leading", { lease: this.#options.name, identity });
      this.leading.publish(true);
    } else if (lost || (!held && this.#view?.holder !== identity && this.leading.current)) {
      log.warn("not_leading", { lease: this.#options.name, identity });
      this.leading.publish(false);
    }
    this.#timer = clock.after(RETRY_MS * (0.9 + random() / 5), () => void this.#round());
  }

  async #tryHold(): Promise<boolean> {
    const { client, namespace, name, identity, clock } = this.#options;
    const answer = await client.request({ method: "GET", path: pathOf(LEASES, { namespace, name }) });
    if (answer.ok) this.#observe(asKubeObject(answer.value), clock.now());
    else if (answer.error.kind === "not_found") this.#lease = this.#view = undefined;
    else return this.#failed("get", answer.error);
    if (!mayTake(this.#view, identity, clock.now())) {
      this.problem = undefined;
      return false;
    }
    return this.#write(identity, LEASE_SECONDS);
  }

  #observe(lease: KubeObject | undefined, now: number): void {
    this.#lease = lease;
    const spec = fieldsOf(lease?.spec);
    const holder = text(spec["holderIdentity"]);
    const mark = `${holder ?? ""} ${text(spec["renewTime"]) ?? ""}`;
    const durationMs = (integer(spec["leaseDurationSeconds"]) ?? LEASE_SECONDS) * 1000;
    const seenAtMs = this.#view?.mark === mark ? this.#view.seenAtMs : now;
    this.#view = { holder, mark, seenAtMs, durationMs };
  }

  /** Under the version that was read: of two that write at once, one is told so. */
  async #write(holder: string, seconds: number): Promise<boolean> {
    const { client, namespace, name, clock, identity } = this.#options;
    const known = fieldsOf(this.#lease?.spec);
    const now = microTime(clock.now());
    const moved = text(known["holderIdentity"]) !== holder;
    const spec = {
      holderIdentity: holder,
      leaseDurationSeconds: seconds,
      renewTime: now,
      acquireTime: moved ? now : (text(known["acquireTime"]) ?? now),
      leaseTransitions:
        (integer(known["leaseTransitions"]) ?? 0) + (moved && this.#lease !== undefined ? 1 : 0),
    };
    const { resourceVersion } = this.#lease?.metadata ?? {};
    const metadata = { namespace, name, ...(resourceVersion === undefined ? {} : { resourceVersion }) };
    const body = { apiVersion: apiVersionOf(LEASES), kind: LEASES.kind, metadata, spec };
    const answer = await client.request(
      this.#lease === undefined
        ? { method: "POST", path: pathOf(LEASES, { namespace }), body }
        : { method: "PUT", path: pathOf(LEASES, { namespace, name }), body },
    );
    if (!answer.ok) return this.#failed(this.#lease === undefined ? "create" : "update", answer.error);
    this.problem = undefined;
    this.#observe(asKubeObject(answer.value), clock.now());
    return this.#view?.holder === identity;
  }

  /** Said once: without the Lease nothing is ever written, and nobody would see why. */
  #failed(verb: string, failure: ApiFailure): false {
    // Another one was faster.
    if (failure.kind === "conflict") return false;
    const { namespace, name, log } = this.#options;
    const found = problemOf(`${verb} leases ${namespace}/${name}`, failure);
    if (found.detail !== this.problem?.detail)
      log.warn("lease_unavailable", { code: PROBLEMS[found.name].code, detail: found.detail });
    this.problem = found;
    return false;
  }
}

/** metav1.MicroTime has six digits of a second. */
function microTime(ms: number): string {
  return new Date(ms).toISOString().replace("Z", "000Z");
}
