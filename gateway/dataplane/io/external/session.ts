// Longer than other files: every way out of one connection ends in the same few decisions, read side by side.
import type { Destination } from "../../../../federation/model/external-host.ts";
import { type Problem, problem } from "../../../../federation/model/problem.ts";
import { ok } from "../../../../federation/model/result.ts";
import type { SpiffeId } from "../../../../federation/model/spiffe-id.ts";
import { workloadName } from "../../../../federation/model/workload-pattern.ts";
import type { RequestHead } from "../../http1/request-head.ts";
import { type EgressTable } from "../../policy/egress-table.ts";
import { DEFAULT_TIMEOUTS, type ExternalRule } from "../../policy/external-rule.ts";
import { type ExternalReach, selectRule } from "../../policy/external.ts";
import { judgeLocalHost, readProxyTarget, withHost, withTarget } from "../../policy/external-request.ts";
import { localReply } from "../../policy/local-reply.ts";
import { STALLED_READER_MS } from "../client-patience.ts";
import type { Counter } from "../counters.ts";
import type { Bagged } from "../bag.ts";
import type { Grant } from "../live-grants.ts";
import { renderProblem } from "../problem-reply.ts";
import { abort, ignore, type RelayCounters, type RelayEnd, relay } from "../relay.ts";
import { externalStream } from "./external-stream.ts";
import { awaitFirstBytes, judgeFirstBytes } from "./first-bytes.ts";
import type { FlowCounter } from "./flows.ts";
import type { ExternalGate, Way } from "./gate.ts";
import { JudgedHttp1, type JudgedHttp1Host } from "../judged/judged-http1.ts";
import type { RequestRoute, Takeover } from "../judged/judging-host.ts";
import { helloName, sniffClientHello } from "./tls-sniffer.ts";
import type { UpstreamPool } from "./upstream-pool.ts";

const HTTP_PORT = 80;
const HTTPS_PORT = 443;
const ESTABLISHED = "HTTP/1.1 200 Connection established\r\n\r\n";
const HTTP1 = ["http/1.1"];
const HTTP = ["h2", "http/1.1"];
const NO_BYTES = Buffer.alloc(0);
// A refusal waits this long for the first byte, which tells whether the client would understand an HTTP answer.
const FIRST_BYTE_MS = 1_000;

/** What was decided for one destination, kept while the rules stay. */
interface Decided {
  readonly table: EgressTable;
  readonly destination: Destination;
  readonly reach: ExternalReach | Problem;
  readonly pools: Map<ExternalRule | undefined, { readonly pool: UpstreamPool; readonly flow: FlowCounter }>;
}

/** Where a head led to: when it comes again, the same holds as long as the decision does. */
interface Routed {
  readonly head: RequestHead;
  readonly decided: Decided;
  readonly rule: ExternalRule | undefined;
  readonly pool: UpstreamPool;
  readonly route: RequestRoute;
}

/** Among the sessions of the gate. */
export interface SessionPlace extends Bagged {
  readonly session: ExternalSession;
}

/** One connection of one workload to the outside, from whichever way it came. */
export class ExternalSession implements JudgedHttp1Host, Grant {
  readonly stalledReaderMs = STALLED_READER_MS;
  /** Among the grants. */
  bagSlot = -1;
  readonly place: SessionPlace = { bagSlot: -1, session: this };
  readonly #gate: ExternalGate;
  readonly #end: RelayEnd;
  readonly #caller: SpiffeId;
  readonly #way: Way;
  #relay: JudgedHttp1 | undefined;
  /** The one destination of this connection, where it has one. */
  #fixed: Destination | undefined;
  #decided: Decided | undefined;
  #routed: Routed | undefined;
  /** By status class; made when first needed. */
  readonly #answers: (Counter | undefined)[] = [];
  #isOver = false;

  constructor(gate: ExternalGate, end: RelayEnd, caller: SpiffeId, way: Way) {
    this.#gate = gate;
    this.#end = end;
    this.#caller = caller;
    this.#way = way;
    end.on("error", ignore);
    end.once("close", () => this.#over());
  }

  start(early: Buffer): void {
    this.#gate.options.grants.add(this);
    switch (this.#way.kind) {
      case "proxy":
        return this.#speakHttp(this.#end, early);
      case "sni":
        return this.#routeBySni(early);
      case "address":
        return this.#serve(this.#way.destination, early, "");
    }
  }

  destroy(): void {
    abort(this.#end);
  }

  // ---- JudgingHost --------------------------------------------------------------------------------------------------

  get coarseNow(): number {
    return this.#gate.coarseNow;
  }

  get draining(): boolean {
    return this.#gate.draining;
  }

  get counters(): RelayCounters {
    return this.#gate.counters;
  }

  get forms(): "origin" | "proxy" {
    return this.#way.kind === "proxy" && this.#fixed === undefined ? "proxy" : "origin";
  }

  route(head: RequestHead): RequestRoute | Takeover | Problem {
    const known = this.#routed;
    if (known?.head === head && this.#stillHolds(known))
      return this.#gate.limit(known.rule, this.#caller) ?? known.route;
    if (this.forms === "origin") {
      const destination = this.#fixed ?? this.#decided?.destination;
      return destination === undefined
        ? problem("no_route", "no destination")
        : this.#routeTo(destination, head, head.target, head.forwardable);
    }
    const target = readProxyTarget(head);
    if ("name" in target) return target;
    const { destination, origin, kind } = target;
    if (kind === "absolute")
      return this.#routeTo(destination, head, origin, withTarget(head.forwardable, origin));
    if (head.body.kind !== "none") return problem("http_framing", "CONNECT with a body");
    const { reach } = this.#decide(destination);
    if ("name" in reach) return reach;
    return { takeOver: (_end, early) => this.#serve(destination, early, ESTABLISHED) };
  }

  /** Only what really went out is a flow: a policy written from one must not open what was refused. */
  begun({ flow, wouldDeny = false }: RequestRoute, { method }: RequestHead): void {
    if (flow !== undefined) this.#gate.flows.count(flow, wouldDeny, method);
    if (wouldDeny) this.#wouldDeny();
  }

  refused(reason: Problem, head: RequestHead | undefined): void {
    this.#audit(reason, head?.method);
  }

  answered(status: number): void {
    const group = Math.floor(status / 100);
    const counter = (this.#answers[group] ??= this.#gate.options.metrics.external.series({
      workload: workloadName(this.#caller),
      status: `${group}xx`,
    }));
    counter.value += 1;
  }

  closed(relay: JudgedHttp1): void {
    this.#gate.relays.delete(relay);
    if (this.#relay === relay) this.#relay = undefined;
  }

  // ---- Grant --------------------------------------------------------------------------------------------------------

  recheck(): Problem | undefined {
    const destination = this.#fixed ?? this.#decided?.destination;
    if (destination === undefined) return undefined;
    const again = this.#gate.decide(this.#caller, destination);
    return again.kind === "denied" ? again.problem : undefined;
  }

  /** Of HTTP, the request under way ends and the connection may go on: its next request is judged anew. */
  cut(reason: Problem): void {
    if (this.#relay === undefined) return this.refuse(reason);
    this.#relay.cut(reason);
    this.#gate.options.grants.add(this);
  }

  // ---- the ways -----------------------------------------------------------------------------------------------------

  #speakHttp(end: RelayEnd, early: Buffer): void {
    const made = new JudgedHttp1(end, this);
    this.#relay = made;
    this.#gate.relays.add(made);
    made.start(early);
    end.resume();
  }

  #routeBySni(early: Buffer): void {
    sniffClientHello(this.#end, early, (outcome, bytes) => {
      if (this.#isOver) return;
      const named = helloName(outcome);
      if (!named.ok) return this.refuse(named.error);
      const destination: Destination = { host: { kind: "name", name: named.value }, port: HTTPS_PORT };
      this.#serveOpaque(destination, bytes, "", true);
    });
  }

  /** Bytes for one destination: requests where the rule says HTTP, else as they are. */
  #serve(destination: Destination, early: Buffer, announce: string): void {
    const { reach } = this.#decide(destination);
    if ("name" in reach) return this.#refuseUnread(reach, early);
    if (reach.rule?.protocol !== "http") return this.#serveOpaque(destination, early, announce, false);
    this.#fixed = destination;
    if (announce !== "") this.#end.write(announce, "latin1");
    this.#speakHttp(this.#end, early);
  }

  /** `sniffed`: `early` holds a ClientHello that names the destination. */
  #serveOpaque(destination: Destination, early: Buffer, announce: string, sniffed: boolean): void {
    this.#fixed = destination;
    const { reach } = this.#decide(destination);
    if ("name" in reach) return this.refuse(reach);
    const { rule } = reach;
    if (rule?.protocol === "http" || (sniffed && rule?.tls !== undefined && rule.tls.mode !== "passthrough"))
      return this.refuse(
        problem("egress_protocol", "the policy says that the gateway speaks TLS, not the workload"),
      );
    const limited = this.#gate.limit(rule, this.#caller);
    if (limited !== undefined) return this.refuse(limited, announce);
    this.#end.pause();
    this.#gate.dial(this.#caller, destination, rule, (dialed) => {
      if (this.#isOver) return dialed.ok ? void dialed.value.destroy() : undefined;
      if (!dialed.ok) return this.refuse(dialed.error, announce);
      const upstream = dialed.value;
      this.#count(destination, rule, "tcp", reach.wouldDeny);
      if (announce !== "") this.#end.write(announce, "latin1");
      const originates = rule?.tls !== undefined && rule.tls.mode !== "passthrough";
      if (sniffed || originates) return this.#join(upstream, early, rule);
      this.#judgeFirstBytes(destination, rule, early, upstream);
    });
  }

  #judgeFirstBytes(
    destination: Destination,
    rule: ExternalRule | undefined,
    early: Buffer,
    upstream: RelayEnd,
  ): void {
    const mustBeTls = rule?.tls?.mode === "passthrough";
    awaitFirstBytes(
      { client: this.#end, upstream, early, mustBeTls, down: this.counters.down },
      (first, bytes) => {
        if (this.#isOver) return abort(upstream);
        const reason = judgeFirstBytes(destination.host, mustBeTls, first);
        if (reason === undefined) return this.#join(upstream, bytes, rule);
        abort(upstream);
        this.refuse(reason);
      },
    );
  }

  #join(upstream: RelayEnd, early: Buffer, rule: ExternalRule | undefined): void {
    this.#gate.options.grants.add(this);
    if (early.length > 0) {
      this.counters.up.value += early.length;
      upstream.write(early);
    }
    if (rule !== undefined && "setTimeout" in upstream)
      upstream.setTimeout(rule.timeouts.idleMs, () => abort(upstream));
    relay(this.#end, upstream, this.counters);
    if (this.#end.readableEnded) upstream.end();
    this.#end.resume();
    upstream.resume();
  }

  // ---- decisions ----------------------------------------------------------------------------------------------------

  #decide(destination: Destination): Decided {
    const { table } = this.#gate;
    const known = this.#decided;
    if (known !== undefined && known.table === table && sameDestination(known.destination, destination))
      return known;
    const decided = this.#gate.decide(this.#caller, destination);
    const reach = decided.kind === "denied" ? decided.problem : decided;
    this.#decided = { table, destination, reach, pools: new Map() };
    return this.#decided;
  }

  #routeTo(
    destination: Destination,
    head: RequestHead,
    target: string,
    forwardable: string,
  ): RequestRoute | Problem {
    const decided = this.#decide(destination);
    if ("name" in decided.reach) return decided.reach;
    const chosen = selectRule(decided.reach, head.method, target);
    if (chosen.kind === "denied") return chosen.problem;
    const { rule, wouldDeny } = chosen;
    const originates = rule?.tls !== undefined && rule.tls.mode !== "passthrough";
    const defaultPort = originates ? HTTPS_PORT : HTTP_PORT;
    const host =
      this.#way.kind === "address" ? judgeLocalHost(head.host, destination, defaultPort) : undefined;
    if (host !== undefined && "name" in host) return host;
    if (this.#way.kind === "proxy" && this.#fixed !== undefined) {
      const disagrees = judgeLocalHost(head.host, destination, defaultPort);
      if (disagrees !== undefined && "name" in disagrees) return disagrees;
    }
    const limited = this.#gate.limit(rule, this.#caller);
    if (limited !== undefined) return limited;
    const { pool, flow } = this.#poolOf(decided, rule);
    const text = host === undefined ? forwardable : withHost(forwardable, destination, defaultPort);
    const requestMs = rule?.timeouts.requestMs ?? DEFAULT_TIMEOUTS.requestMs;
    const route = { pool, head: text, requestMs, flow, wouldDeny };
    this.#routed = { head, decided, rule, pool, route };
    return route;
  }

  #stillHolds({ decided, pool }: Routed): boolean {
    return decided === this.#decided && decided.table === this.#gate.table && !pool.isRetired;
  }

  #poolOf(decided: Decided, rule: ExternalRule | undefined) {
    const known = decided.pools.get(rule);
    if (known?.pool.isRetired === false) return known;
    // A retired pool (rules or secrets changed) is replaced by the gate's present one.
    const pool = this.#gate.pools.get(this.#poolKey(decided.destination, rule), (http1, done) =>
      this.#gate.dial(
        this.#caller,
        decided.destination,
        rule,
        (dialed) => done(dialed.ok ? ok(externalStream(dialed.value)) : dialed),
        http1 ? HTTP1 : HTTP,
      ),
    );
    const made = { pool, flow: known?.flow ?? this.#flow(decided.destination, rule, "http") };
    const { destination, reach } = decided;
    if (known === undefined) this.#allowed(destination, rule, "name" in reach ? false : reach.wouldDeny);
    decided.pools.set(rule, made);
    return made;
  }

  /** A connection belongs to one caller, one rule and one destination. */
  #poolKey(destination: Destination, rule: ExternalRule | undefined): string {
    const { rank } = rule ?? {};
    return `${this.#caller.uri} ${destination.host.name} ${destination.port} ${rank?.policy ?? ""} ${rank?.position ?? ""}`;
  }

  #allowed(destination: Destination, rule: ExternalRule | undefined, wouldDeny: boolean): void {
    this.#gate.audit.allowed({
      caller: this.#caller.uri,
      way: this.#way.kind,
      destination: this.#gate.describe(destination),
      policy: rule?.policy,
      wouldDeny,
    });
  }

  #count(
    destination: Destination,
    rule: ExternalRule | undefined,
    protocol: "http" | "tcp",
    wouldDeny: boolean,
  ): void {
    this.#gate.flows.count(this.#flow(destination, rule, protocol), wouldDeny);
    if (wouldDeny) this.#wouldDeny();
    this.#allowed(destination, rule, wouldDeny);
  }

  #flow(destination: Destination, rule: ExternalRule | undefined, protocol: "http" | "tcp"): FlowCounter {
    return this.#gate.flows.counter({
      workload: workloadName(this.#caller),
      host: destination.host.name,
      port: destination.port,
      protocol,
      policy: rule?.policy,
    });
  }

  #wouldDeny(): void {
    const labels = { workload: workloadName(this.#caller), service: "external", port: "0" };
    this.#gate.options.metrics.wouldDeny.series(labels).value += 1;
  }

  // ---- refusals -----------------------------------------------------------------------------------------------------

  /** `announce`: the client waits for the answer to its CONNECT. Otherwise TCP has no words: the connection is reset. */
  refuse(reason: Problem, announce = ""): void {
    if (this.#isOver) return;
    this.#audit(reason);
    if (announce === "") return abort(this.#end);
    this.#replyAndEnd(reason);
  }

  /** Of a client of which nothing is known yet: its first byte tells whether it speaks HTTP. */
  #refuseUnread(reason: Problem, early: Buffer): void {
    this.#audit(reason);
    const answer = (bytes: Buffer): void => {
      if (this.#isOver) return;
      const first = bytes[0] ?? 0;
      if (first >= 0x41 && first <= 0x5a) this.#replyAndEnd(reason);
      else abort(this.#end);
    };
    if (early.length > 0) return answer(early);
    const timer = setTimeout(() => answer(NO_BYTES), FIRST_BYTE_MS);
    const onData = (chunk: Buffer): void => {
      clearTimeout(timer);
      (this.#end as unknown as NodeJS.EventEmitter).off("data", onData);
      answer(chunk);
    };
    this.#end.on("data", onData);
    this.#end.resume();
  }

  #replyAndEnd(reason: Problem): void {
    this.#end.write(renderProblem(reason, localReply(reason.name).http, true, false), "utf8");
    this.#end.end();
    this.#end.resume();
    setTimeout(() => abort(this.#end), FIRST_BYTE_MS).unref();
  }

  #audit(reason: Problem, method?: string): void {
    const destination = this.#fixed ?? this.#decided?.destination;
    this.#gate.audit.denied(reason, {
      caller: this.#caller.uri,
      way: this.#way.kind,
      destination: destination === undefined ? undefined : this.#gate.describe(destination),
      ...(method === undefined ? {} : { method }),
    });
  }

  #over(): void {
    this.#isOver = true;
    this.#gate.options.grants.delete(this);
    this.#gate.ended(this);
  }
}

function sameDestination(a: Destination, b: Destination): boolean {
  return a === b || (a.port === b.port && a.host.name === b.host.name);
}
