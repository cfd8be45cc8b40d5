import { opaqueName } from "../balance/session-token.ts";
import type { FailbackConfig } from "../lifecycle/destination-state.ts";
import * as destination from "../lifecycle/destination-state.ts";
import * as outlier from "../lifecycle/outlier-state.ts";
import { type CircuitBound, type CircuitLoad, judgeCircuit, UNLIMITED } from "../policy/circuit.ts";
import { type BudgetLimits, RetryBudget } from "../policy/retry-budget.ts";
import type { BackendRule } from "../policy/rule-tables.ts";
import { ConnectionQueue, type Spare, type Waiter } from "./connection-queue.ts";

/** What is known of a service at one cluster; `undefined`: nothing, which counts as ready. */
export interface Readiness {
  readonly ready: number;
  readonly total: number;
}

// Endpoints of one service at one cluster that are remembered; far more than any has, and a bound against a hostile peer.
const MAX_ENDPOINTS = 4_096;
// Names that fit the tunnel's header list many times over; beyond them the far gateway's own judgement has to do.
const MAX_AVOIDED = 64;

export type Ejection = (endpoint: string) => void;

/**
 * All that this process knows of one service at one cluster: how much it asks of it, which of its endpoints fail, whether it
 * returns. It is about the service, never about the gateway that carries it beside others.
 */
export class DestinationGuard {
  /** Opaque name of the cluster, as sessions have it. */
  readonly cluster: string;
  readonly load: CircuitLoad = { connections: 0, requests: 0, pending: 0 };
  rule: BackendRule | undefined;
  /**
   * Grows when an endpoint comes (back). Streams of an earlier generation serve no further request, so that load finds the
   * newcomer: a busy stream would else stay with its endpoint for ever.
   */
  generation = 0;
  /** How many endpoints the service has there; 0: not known. */
  endpoints = 0;
  readonly #budget = new RetryBudget();
  /** Endpoints that serve, as far as is known. */
  ready = 0;
  #state: destination.DestinationState = destination.ADMITTED;
  /** The same by a policy that only observes, which has a failback of its own. */
  #observedState: destination.DestinationState = destination.ADMITTED;
  /** Of the service there as a whole. */
  #whole: outlier.OutlierState = outlier.ADMITTING;
  readonly #endpoints = new Map<string, outlier.OutlierState>();
  #ejected = 0;
  readonly #queue = new ConnectionQueue();
  readonly #onEject = new Set<Ejection>();

  constructor(trustDomain: string) {
    this.cluster = opaqueName(trustDomain);
  }

  /** What is known of it now. */
  heard(readiness: Readiness | undefined): void {
    const ready = readiness?.ready ?? 0;
    if (ready > this.ready) this.generation += 1;
    this.ready = ready;
    this.endpoints = readiness?.total ?? 0;
  }

  // ---- circuit ------------------------------------------------------------------------------------------------------

  /** Which bound one more request breaks, whether or not it is enforced. */
  get brokenBound(): CircuitBound | undefined {
    const verdict = judgeCircuit(this.load, this.rule?.circuit ?? UNLIMITED, true);
    return verdict === "admit" || verdict === "wait" ? undefined : verdict;
  }

  /** As many connections as the circuit allows, whether or not it is enforced. */
  get isAtBound(): boolean {
    const limits = this.rule?.circuit;
    return limits !== undefined && this.load.connections >= limits.maxConnections;
  }

  get mayConnect(): boolean {
    return this.rule?.observe === true || !this.isAtBound;
  }

  connected(): void {
    this.load.connections += 1;
  }

  disconnected(): void {
    this.load.connections -= 1;
    this.idle();
  }

  /** A connection is free, or may be opened: those that wait may try, the longest first. */
  idle(): void {
    if (this.#queue.length === 0) return;
    this.#queue.wake();
    this.load.pending = this.#queue.length;
  }

  /** Whether it may wait. */
  wait(waiter: Waiter): boolean {
    const limits = this.rule?.circuit ?? UNLIMITED;
    const places = Math.min(limits.maxPendingRequests, MAX_WAITING);
    // Looked at again: who gives way may have another request that waits.
    if (this.#queue.length >= places && !(this.#queue.makePlace() && this.#queue.length < places))
      return false;
    this.#queue.add(waiter);
    this.load.pending = this.#queue.length;
    return true;
  }

  /** Where idle connections may be closed for those that wait. */
  offerIdle(spare: Spare): () => void {
    return this.#queue.offer(spare);
  }

  // ---- retries ------------------------------------------------------------------------------------------------------

  requested(now: number): void {
    const limits = this.#budgetLimits();
    if (limits !== undefined) this.#budget.request(limits, now);
  }

  /** Whether the budget of the rule, be it in force or observed, has one more. */
  hasRetryLeft(now: number): boolean {
    const limits = this.#budgetLimits();
    return limits === undefined || this.#budget.retry(limits, now);
  }

  #budgetLimits(): BudgetLimits | undefined {
    const retry = this.rule?.rule.retry;
    if (retry === undefined) return undefined;
    const { percent, intervalMs, minCount, minIntervalMs } = retry;
    return { percent, intervalMs, minPerInterval: (minCount * intervalMs) / minIntervalMs };
  }

  // ---- outliers -----------------------------------------------------------------------------------------------------

  onEject(listener: Ejection): () => void {
    this.#onEject.add(listener);
    return () => this.#onEject.delete(listener);
  }

  /** Whether anybody wants to know how endpoints answer. */
  get judges(): boolean {
    return this.rule?.rule.outlier !== undefined;
  }

  /** Whether an endpoint is ejected, or was when this was last looked at. */
  get hasEjected(): boolean {
    return this.#ejected > 0;
  }

  /** One answer, or the lack of it. Answers whether it ejected the endpoint. */
  judge(endpoint: string | undefined, event: "success" | "failure", now: number, total: number): boolean {
    const config = this.rule?.rule.outlier;
    if (config === undefined) return false;
    this.#whole = outlier.transition(this.#whole, event, now, config, true);
    if (endpoint === undefined) return false;
    const before = this.#endpoints.get(endpoint) ?? outlier.ADMITTING;
    const known = Math.max(total, this.#endpoints.size);
    const room = outlier.mayEject(this.#ejected, known, config.maxEjectionPercent);
    const after = outlier.transition(before, event, now, config, room);
    if (after === before && this.#endpoints.has(endpoint)) return false;
    if (this.#endpoints.size >= MAX_ENDPOINTS && !this.#endpoints.has(endpoint)) this.#forgetOne();
    this.#endpoints.set(endpoint, after);
    this.#count();
    if (after.kind !== "ejected") return false;
    if (this.rule?.observe !== true) for (const listener of [...this.#onEject]) listener(endpoint);
    return true;
  }

  isEjected(endpoint: string | undefined, now: number): boolean {
    if (endpoint === undefined || this.#ejected === 0 || this.rule?.observe === true) return false;
    this.#tick(now);
    return this.#endpoints.get(endpoint)?.kind === "ejected";
  }

  /** Names of ejected endpoints, as the tunnel says them to the far gateway; `undefined` while there are none. */
  avoided(now: number): string | undefined {
    if (this.#ejected === 0 || this.rule?.observe === true) return undefined;
    this.#tick(now);
    const names = [...this.#endpoints].filter(([, { kind }]) => kind === "ejected").map(([name]) => name);
    return names.length === 0 ? undefined : names.slice(0, MAX_AVOIDED).join(",");
  }

  #tick(now: number): void {
    const config = this.rule?.rule.outlier ?? outlier.DEFAULT_OUTLIER;
    for (const [name, state] of this.#endpoints) {
      const next = outlier.transition(state, "tick", now, config, true);
      if (next === state) continue;
      this.#endpoints.set(name, next);
      this.generation += 1;
    }
    this.#count();
  }

  #count(): void {
    this.#ejected = 0;
    for (const { kind } of this.#endpoints.values()) if (kind === "ejected") this.#ejected += 1;
  }

  #forgetOne(): void {
    for (const [name, { kind }] of this.#endpoints) {
      if (kind === "ejected") continue;
      this.#endpoints.delete(name);
      return;
    }
  }

  // ---- failover -----------------------------------------------------------------------------------------------------

  /** What part of its readiness counts now, or would by a policy that observes, and what is known without hysteresis. */
  weigh(
    readiness: Readiness | undefined,
    now: number,
    failback: FailbackConfig,
    isObserved = false,
  ): { readonly readiness: number; readonly rawReadiness: number } {
    const config = this.rule?.rule.outlier;
    if (config !== undefined) this.#whole = outlier.transition(this.#whole, "tick", now, config, true);
    const isJudged = isObserved || this.rule?.observe !== true;
    const part = readiness === undefined ? 1 : readiness.total === 0 ? 0 : readiness.ready / readiness.total;
    const raw = isJudged && this.#whole.kind === "ejected" ? 0 : part;
    const before = isObserved ? this.#observedState : this.#state;
    const state = destination.transition(before, raw > 0 ? "ready" : "unready", now, failback);
    if (isObserved) this.#observedState = state;
    else this.#state = state;
    return { readiness: raw * destination.admittedPart(state, now, failback), rawReadiness: raw };
  }
}

// Requests that wait for a connection where no rule says how many may.
const MAX_WAITING = 4_096;
