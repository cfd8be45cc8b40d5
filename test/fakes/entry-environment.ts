import { Metrics } from "../../gateway/dataplane/io/counters.ts";
import type { EntryEnvironment } from "../../gateway/dataplane/io/entry.ts";
import { EventLog } from "../../gateway/dataplane/io/event-log.ts";
import { Guard } from "../../gateway/dataplane/io/guard.ts";
import { RetryBudgets } from "../../gateway/dataplane/io/retry-budgets.ts";
import { createWatch } from "../../gateway/dataplane/lifecycle/watch.ts";
import type { RouteTables } from "../../gateway/dataplane/routing/tables.ts";
import { createMemoryLog, type MemoryLog } from "./memory-log.ts";
import { westTables } from "./rules.ts";

/** What west's entries have around them where no gateway can be reached. */
export function entryEnvironment({
  log = createMemoryLog(),
  metrics = new Metrics(),
  now = () => 0,
  ...rest
}: Partial<EntryEnvironment> & { readonly log?: MemoryLog } = {}): EntryEnvironment {
  const events = new EventLog(log, () => 0);
  return {
    tables: createWatch<RouteTables | undefined>(westTables()),
    upstreamFor: () => undefined,
    callerToken: () => "",
    metrics,
    events,
    claims: { isShared: () => true, claim: () => {} },
    now,
    monotonicMs: () => 0,
    random: () => 0,
    budgets: new RetryBudgets(),
    guard: new Guard({ now, metrics, events, readiness: () => undefined, choosable: () => undefined }),
    ...rest,
  };
}
