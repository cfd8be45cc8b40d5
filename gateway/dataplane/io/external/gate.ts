import type { EgressAnswer } from "../../../../federation/model/egress-answer.ts";
import {
  type Destination,
  formatDestination,
  parseDestination,
} from "../../../../federation/model/external-host.ts";
import { formatIp } from "../../../../federation/model/ip-address.ts";
import type { Logger } from "../../../../federation/model/log.ts";
import { type Problem, PROBLEMS, problem } from "../../../../federation/model/problem.ts";
import type { SpiffeId } from "../../../../federation/model/spiffe-id.ts";
import { workloadName } from "../../../../federation/model/workload-pattern.ts";
import type { Watch } from "../../lifecycle/watch.ts";
import { answerEgress, type EgressQuestion } from "../../policy/egress-answer.ts";
import { compileEgress, type EgressTable } from "../../policy/egress-table.ts";
import { type ExternalRule } from "../../policy/external-rule.ts";
import { decideExternal, type ExternalDenied, type ExternalReach } from "../../policy/external.ts";
import type { GuardedRange } from "../../policy/guarded-ranges.ts";
import { TokenBucket } from "../../policy/token-bucket.ts";
import type { RouteTables } from "../../routing/tables.ts";
import { Bag } from "../bag.ts";
import type { Metrics } from "../counters.ts";
import type { EventLog } from "../event-log.ts";
import type { LiveGrants } from "../live-grants.ts";
import { DRAIN_IDLE_MS } from "../client-patience.ts";
import type { RelayCounters, RelayEnd } from "../relay.ts";
import { expireDue, TICK_MS } from "../ticker.ts";
import { EgressAudit } from "./audit.ts";
import { ClientContexts } from "./client-contexts.ts";
import { type Dialed, ExternalDialer } from "./dialer.ts";
import { externalCounters } from "./external-tunnel.ts";
import type { FlowTable } from "./flows.ts";
import type { JudgedHttp1 } from "../judged/judged-http1.ts";
import type { NameResolver } from "./name-resolver.ts";
import type { SecretSource } from "./secrets.ts";
import { ExternalSession, type SessionPlace } from "./session.ts";
import { UpstreamPools } from "./upstream-pool.ts";

/** How a workload's connection came: by the local address of one host, by the HTTP proxy, or by the listener that reads SNI. */
export type Way =
  | { readonly kind: "address"; readonly destination: Destination }
  | { readonly kind: "proxy" }
  | { readonly kind: "sni" };

export interface GateOptions {
  readonly tables: Watch<RouteTables | undefined>;
  readonly secrets: SecretSource;
  readonly resolver: NameResolver;
  readonly guarded: () => readonly GuardedRange[];
  readonly grants: LiveGrants;
  readonly flows: FlowTable;
  readonly metrics: Metrics;
  readonly events: EventLog;
  readonly log: Logger;
  readonly now: () => number;
}

// Connections of workloads to the outside, all ways together; the next one is refused.
const MAX_SESSIONS = 20_000;
const MAX_BUCKETS = 20_000;
const NOTHING: EgressTable = compileEgress({ policies: [] });

/** Where a cluster's workloads leave for the outside: every way in leads here, and here it is decided, resolved and dialled. */
export class ExternalGate {
  readonly options: GateOptions;
  readonly audit: EgressAudit;
  readonly flows: FlowTable;
  readonly pools: UpstreamPools;
  readonly relays = new Bag<JudgedHttp1>();
  coarseNow: number;
  draining = false;
  readonly #dialer: ExternalDialer;
  readonly #contexts: ClientContexts;
  readonly #buckets = new Map<string, TokenBucket>();
  readonly #sessions = new Bag<SessionPlace>();
  readonly #subscriptions: readonly (() => void)[];
  readonly #ticker: NodeJS.Timeout;
  readonly #bytes: RelayCounters;
  #onDrained: (() => void) | undefined;

  constructor(options: GateOptions) {
    this.options = options;
    const { now, metrics, secrets, tables } = options;
    this.coarseNow = now();
    this.audit = new EgressAudit(options.log, options.events, metrics);
    this.flows = options.flows;
    this.pools = new UpstreamPools(now);
    this.#dialer = new ExternalDialer(options);
    this.#contexts = new ClientContexts(secrets);
    this.#bytes = externalCounters(metrics);
    this.#subscriptions = [
      tables.subscribe((next, previous) => this.#rulesChanged(next, previous)),
      // The next request dials with the new certificate; what is under way keeps the connection that it has.
      secrets.subscribe(() => this.pools.retireAll()),
    ];
    this.#ticker = setInterval(() => this.#tick(now()), TICK_MS).unref();
  }

  get table(): EgressTable {
    return this.options.tables.current?.egress ?? NOTHING;
  }

  get counters(): RelayCounters {
    return this.#bytes;
  }

  /** Takes a workload's connection over; `early` came before. */
  accept(end: RelayEnd, caller: SpiffeId, way: Way, early: Buffer = Buffer.alloc(0)): void {
    const session = new ExternalSession(this, end, caller, way);
    if (this.#sessions.size >= MAX_SESSIONS)
      return session.refuse(problem("overloaded", `more than ${MAX_SESSIONS} connections to the outside`));
    this.#sessions.add(session.place);
    session.start(early);
  }

  ended(session: ExternalSession): void {
    this.#sessions.delete(session.place);
    if (this.draining && this.#sessions.size === 0) this.#onDrained?.();
  }

  decide(caller: SpiffeId, destination: Destination): ExternalReach | ExternalDenied {
    const { tables } = this.options;
    if (tables.current === undefined)
      return { kind: "denied", problem: problem("snapshot_missing", "this gateway has no snapshot yet") };
    if (caller.trustDomain !== tables.current.trustDomain)
      return {
        kind: "denied",
        problem: problem("caller_token_invalid", `${caller.uri} is not a workload of this cluster`),
      };
    return decideExternal(this.table, caller, destination);
  }

  /** Takes one token of the caller's bucket of the rule's policy. Observing policies only count. */
  limit(rule: ExternalRule | undefined, caller: SpiffeId): Problem | undefined {
    if (rule?.limit === undefined) return undefined;
    const { requests, intervalMs, burst } = rule.limit;
    const key = `${rule.policy} ${caller.uri}`;
    let bucket = this.#buckets.get(key);
    const now = this.options.now();
    if (bucket === undefined) {
      // Full buckets are as good as none: forgetting all of them forgives at most one burst each.
      if (this.#buckets.size >= MAX_BUCKETS) this.#buckets.clear();
      bucket = new TokenBucket({ perMs: requests / intervalMs, burst }, now);
      this.#buckets.set(key, bucket);
    }
    const waitMs = bucket.take(now);
    if (waitMs === 0 || rule.mode === "observe") return undefined;
    return problem(
      "egress_rate_limited",
      `EgressPolicy ${rule.policy} gives ${workloadName(caller)} ${requests} requests per ${intervalMs} ms; the next is due in ${waitMs} ms`,
    );
  }

  /** Dials as a rule says; `alpn`: the protocols that we can speak where we originate TLS. */
  dial(
    caller: SpiffeId,
    { host, port }: Destination,
    rule: ExternalRule | undefined,
    done: Dialed,
    alpn: readonly string[] = [],
  ): void {
    const settings = rule?.tls;
    if (settings === undefined || settings.mode === "passthrough")
      return this.#dialer.dial({ host, port, rule }, done);
    const context = this.#contexts.for(settings, caller);
    if (!context.ok) return done(context);
    this.#dialer.dial({ host, port, rule, tls: { settings, context: context.value, alpn } }, done);
  }

  /** What `isthmus egress test` asks: the decision, and the addresses that would be dialled. */
  answer(question: EgressQuestion, done: (answer: EgressAnswer) => void): void {
    const answer = answerEgress(this.table, question);
    const parsed = parseDestination(question.destination, 443);
    if (
      answer.verdict === "denied" ||
      !parsed.ok ||
      /\.svc\.clusterset\.local(:|$)/.test(question.destination)
    )
      return done(answer);
    const reach = this.decide(question.caller, parsed.value);
    if (reach.kind === "denied") return done(deniedAnswer(answer, reach.problem));
    const { rule } = reach;
    this.#dialer.addresses({ host: parsed.value.host, rule }, (found) => {
      if (found.ok) return done({ ...answer, addresses: found.value.map(formatIp) });
      const unknown = found.error.name === "external_unresolved";
      done({ ...deniedAnswer(answer, found.error), verdict: unknown ? "unknown" : "denied" });
    });
  }

  describe(destination: Destination): string {
    return formatDestination(destination.host, destination.port);
  }

  drain(): Promise<void> {
    this.draining = true;
    return new Promise((resolve) => {
      this.#onDrained = resolve;
      if (this.#sessions.size === 0) resolve();
    });
  }

  close(): void {
    clearInterval(this.#ticker);
    for (const unsubscribe of this.#subscriptions) unsubscribe();
    for (const { session } of this.#sessions.all()) session.destroy();
    this.pools.retireAll();
    this.audit.flush();
  }

  /** Snapshots change for many reasons: only another policy empties pools and gives everyone a fresh rate. */
  #rulesChanged(next: RouteTables | undefined, previous: RouteTables | undefined): void {
    if (JSON.stringify(next?.egress.policies) === JSON.stringify(previous?.egress.policies)) return;
    this.pools.retireAll();
    this.#buckets.clear();
  }

  #tick(now: number): void {
    this.coarseNow = now;
    expireDue(this.relays.all(), now);
    this.pools.sweep(now);
    this.audit.flush();
    if (!this.draining) return;
    for (const relay of this.relays.all()) relay.endIfIdle(DRAIN_IDLE_MS);
  }
}

function deniedAnswer(answer: EgressAnswer, { name, detail }: Problem): EgressAnswer {
  return { ...answer, verdict: "denied", code: PROBLEMS[name].code, detail };
}
