/**
 * What rules in force cost a request at its entry: `node test/bench/rules.ts`. CPU time of one thread for one request's way through
 * the rules (decision, limit, circuit's ticket, session's fields), over real tables; the best of several rounds, since other work
 * on the machine only ever adds. Compare with the 20,000 to 40,000 ns that a request costs over all hops.
 */
import type { SnapshotBackend, SnapshotRateLimit } from "../../federation/model/snapshot.ts";
import { EntryGuard } from "../../gateway/dataplane/io/entry-guard.ts";
import { EventLog } from "../../gateway/dataplane/io/event-log.ts";
import { NO_TICKET, ticketFor } from "../../gateway/dataplane/io/exchange-ticket.ts";
import { Guard } from "../../gateway/dataplane/io/guard.ts";
import { Metrics } from "../../gateway/dataplane/io/counters.ts";
import { compileEntry, decideRequest, type Dice } from "../../gateway/dataplane/routing/decide-request.ts";
import { createMemoryLog } from "../fakes/memory-log.ts";
import { CART, id, importRule, westTables } from "../fakes/rules.ts";
import { bestNs } from "./cpu-time.ts";
import { requestView } from "./request-view.ts";

const ROUNDS = 12;
const CALLS = 200_000;
const WEB = id("west/shop/web");

const LIMIT: SnapshotRateLimit = {
  name: "west/shop/limit",
  service: CART,
  from: [],
  requests: 1_000_000_000,
  unitMs: 1_000,
  burst: 1_000_000_000,
  scope: "Local",
  mode: "enforce",
};
const POLICY: SnapshotBackend = { name: "west/shop/policy", service: CART, mode: "enforce" };
const circuit = { maxConnections: 4_096, maxParallelRequests: 4_096, maxPendingRequests: 4_096 };
const outlier = {
  consecutiveErrors: 5,
  baseEjectionMs: 30_000,
  maxEjectionMs: 300_000,
  maxEjectionPercent: 50,
};
const session = { type: "Cookie", name: "affinity", permanent: false } as const;
const header = { header: { name: "x-tier", value: "free" } };

function requestNs(rateLimits: readonly SnapshotRateLimit[], backends: readonly SnapshotBackend[]): number {
  const imports = [importRule({ workloads: ["*"] })];
  const tables = westTables({ imports, rules: { rateLimits, backends, rollouts: [] } });
  const metrics = new Metrics();
  const events = new EventLog(createMemoryLog(), () => 0);
  const known = { ready: 4, total: 4 };
  const shared = new Guard({
    now: Date.now,
    metrics,
    events,
    readiness: () => known,
    choosable: () => known,
  });
  const guard = new EntryGuard({ caller: WEB, service: CART, port: 80 }, tables, shared, Math.random);
  const entry = compileEntry(tables, WEB, CART, 80);
  const dice: Dice = {
    random: Math.random,
    split: Math.random,
    pick: (sources) => guard.pick(sources),
    session: (request) => guard.session(request),
  };
  const view = requestView("GET / HTTP/1.1", "x-tier: free");
  return bestNs(ROUNDS, CALLS, (calls) => {
    for (let call = 0; call < calls; call++) {
      const decided = decideRequest(entry, view, dice);
      if (decided.kind !== "forward") return call;
      const applied = guard.apply(decided, view, entry.sources);
      if (applied.kind !== "forward") return call;
      const ticket = guard.hasRules ? ticketFor(guard, applied.target, Date.now) : NO_TICKET;
      if ("name" in ticket) return call;
      ticket.answered(200, "e1");
      if (guard.hasRules) guard.sessionFields(applied.target, view, "e1");
      ticket.leave();
    }
    return calls;
  });
}

function line(name: string, ns: number): void {
  process.stdout.write(`${name.padEnd(52)} ${ns.toFixed(0).padStart(6)} ns\n`);
}

const ten = Array.from({ length: 10 }, (_, at) => ({ ...LIMIT, name: `west/shop/limit-${at}` }));
line("no rule", requestNs([], []));
line("one RateLimit", requestNs([LIMIT], []));
line("one RateLimit of callers with a header", requestNs([{ ...LIMIT, from: [header] }], []));
line("ten RateLimits", requestNs(ten, []));
line("a circuit", requestNs([], [{ ...POLICY, circuit }]));
line("outlier detection", requestNs([], [{ ...POLICY, outlier }]));
line("session affinity by cookie", requestNs([], [{ ...POLICY, session }]));
line("all of them", requestNs(ten, [{ ...POLICY, circuit, outlier, session }]));
