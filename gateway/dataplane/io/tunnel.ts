import type { Logger } from "../../../federation/model/log.ts";
import { type Problem, PROBLEMS, problem } from "../../../federation/model/problem.ts";
import type { TunnelStatus } from "../../../federation/model/resource.ts";
import type { Credential } from "../../../federation/trust/index.ts";
import type { Load } from "../balance/pick.ts";
import { type ExpectedPeer, type PeerTrust, trustsDomain } from "../identity/peer-trust.ts";
import { type TunnelEvent, type TunnelState, transition } from "../lifecycle/tunnel-state.ts";
import type { Watch } from "../lifecycle/watch.ts";
import { Link } from "./link.ts";
import type { OpenedStream, RequestFields } from "./tunnel-stream.ts";

/** What every tunnel of a process shares. */
export interface TunnelEnvironment {
  readonly credential: Watch<Credential>;
  readonly trust: Watch<PeerTrust>;
  readonly log: Logger;
  /** Since the epoch: what certificates are judged by. */
  readonly now: () => number;
  /** Passes evenly: a clock that is set must keep no tunnel from being dialled. */
  readonly monotonicMs: () => number;
  readonly random: () => number;
}

/** A standing connection to one address: redials with back-off, and is renewed without a gap when our credential rotates. */
export class Tunnel implements Load {
  readonly address: string;
  readonly #expected: ExpectedPeer;
  readonly #env: TunnelEnvironment;
  readonly #onChange: (tunnel: Tunnel) => void;
  #state: TunnelState = { kind: "connecting", attempt: 0 };
  #current: Link | undefined;
  /** Being dialled: the first link, or the successor of `#current`. */
  #next: Link | undefined;
  /** Take no more streams and end with their last one. */
  readonly #leaving = new Set<Link>();
  #timer: NodeJS.Timeout | undefined;
  #lastProblem: Problem | undefined;
  #refusedMs = Number.NEGATIVE_INFINITY;

  constructor(
    address: string,
    expected: ExpectedPeer,
    env: TunnelEnvironment,
    onChange: (tunnel: Tunnel) => void,
  ) {
    this.address = address;
    this.#expected = expected;
    this.#env = env;
    this.#onChange = onChange;
    this.#dial();
  }

  get ready(): boolean {
    return this.#current !== undefined;
  }

  get streams(): number {
    return this.#current?.streams ?? 0;
  }

  /** It failed, and has not been ready since. */
  get away(): boolean {
    return !this.ready && this.#lastProblem !== undefined;
  }

  /** Whether the last connection was refused, no longer ago than that: nobody listens at the address. */
  wasRefused(withinMs: number): boolean {
    return !this.ready && this.#env.monotonicMs() - this.#refusedMs <= withinMs;
  }

  open(headers: RequestFields, onDrain: () => void): OpenedStream | undefined {
    return this.#current?.open(headers, onDrain);
  }

  /** Make before break: the old link serves until the new one is ready, then finishes what it has. */
  renew(): void {
    if (this.#current !== undefined && this.#next === undefined) this.#dial();
  }

  /** Cuts what the trust now in force would not let us dial, streams under way included. */
  recheckTrust(): void {
    const { trustDomain } = this.#expected;
    if (trustsDomain(trustDomain, this.#env.trust.current)) return;
    const reason = problem("peer_denied", `${trustDomain} is no longer trusted`);
    for (const link of [...this.#leaving, this.#next, this.#current]) link?.cut(reason);
  }

  close(): void {
    this.#apply({ kind: "close" });
    clearTimeout(this.#timer);
    this.#next?.destroy();
    this.#current?.drain();
    this.#next = undefined;
    this.#current = undefined;
  }

  status(cluster: string): TunnelStatus {
    if (this.#current !== undefined) return { cluster, address: this.address, state: "up" };
    const code = this.#lastProblem === undefined ? {} : { code: PROBLEMS[this.#lastProblem.name].code };
    return {
      cluster,
      address: this.address,
      state: this.#state.kind === "waiting" ? "down" : "connecting",
      ...code,
    };
  }

  #dial(): void {
    const { credential, trust, now } = this.#env;
    this.#next = new Link(
      {
        address: this.address,
        expected: this.#expected,
        credential: credential.current,
        trust: trust.current,
        now,
      },
      {
        onReady: (link) => this.#onReady(link),
        onDraining: (link) => this.#onDraining(link),
        onLost: (link, reason) => this.#onLost(link, reason),
      },
    );
  }

  #onReady(link: Link): void {
    if (link !== this.#next) return;
    const old = this.#current;
    this.#current = link;
    this.#next = undefined;
    if (old !== undefined) this.#leaving.add(old);
    old?.drain();
    this.#lastProblem = undefined;
    this.#apply({ kind: "established" });
    this.#env.log.info("tunnel_up", { address: this.address, peer: this.#expected.trustDomain });
    this.#onChange(this);
  }

  #onDraining(link: Link): void {
    if (link !== this.#current) return;
    this.#current = undefined;
    this.#leaving.add(link);
    this.#apply({ kind: "draining" });
    if (this.#next === undefined && this.#state.kind !== "closed") this.#dial();
    this.#onChange(this);
  }

  #onLost(link: Link, reason: Problem): void {
    if (link === this.#current) this.#current = undefined;
    else if (link === this.#next) this.#next = undefined;
    else return void this.#leaving.delete(link); // a drained predecessor ended, as it should
    this.#refusedMs = link.wasRefused ? this.#env.monotonicMs() : Number.NEGATIVE_INFINITY;
    if (this.#current !== undefined) return this.#retryRenewal();
    this.#report(reason);
    if (this.#next === undefined) this.#apply({ kind: "lost", problem: reason.name });
    this.#onChange(this);
  }

  /** The successor failed while the current link is well: try again later, nothing is lost yet. */
  #retryRenewal(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.renew(), 1_000).unref();
  }

  #report(reason: Problem): void {
    const repeated = this.#lastProblem?.name === reason.name && this.#lastProblem.detail === reason.detail;
    this.#lastProblem = reason;
    if (repeated) return;
    const { code } = PROBLEMS[reason.name];
    this.#env.log.warn("tunnel_down", {
      address: this.address,
      peer: this.#expected.trustDomain,
      code,
      detail: reason.detail,
    });
  }

  #apply(event: TunnelEvent): void {
    const previous = this.#state;
    this.#state = transition(previous, event, this.#env.monotonicMs(), this.#env.random());
    if (this.#state === previous) return;
    if (this.#state.kind === "waiting") {
      clearTimeout(this.#timer);
      const waitMs = Math.max(1, this.#state.untilMs - this.#env.monotonicMs());
      this.#timer = setTimeout(() => this.#redial(), waitMs);
    }
  }

  #redial(): void {
    this.#apply({ kind: "tick" });
    if (this.#state.kind === "connecting" && this.#next === undefined) this.#dial();
    // A coarse clock may fire a moment early; the state says how long is left.
    else if (this.#state.kind === "waiting") this.#timer = setTimeout(() => this.#redial(), 5);
  }
}
