import { serviceKey, type ServiceName } from "../../../../federation/model/service.ts";
import type { SpiffeId } from "../../../../federation/model/spiffe-id.ts";
import { workloadName } from "../../../../federation/model/workload-pattern.ts";
import type { EgressFlow } from "../../../../federation/model/egress-flow.ts";

// A federation's whole list of outside hosts with room to spare; what comes after is counted, not listed.
const MAX_FLOWS = 10_000;

export interface FlowKey {
  readonly workload: string;
  /** A host's canonical name or address; with port 0 an imported service, `cart.shop`. */
  readonly host: string;
  readonly port: number;
  readonly protocol: EgressFlow["protocol"];
  readonly policy: string | undefined;
}

/** One flow's counters; held by a connection, so that a request only counts. */
export interface FlowCounter {
  count: number;
  wouldDeny: number;
  lastSeenMs: number;
  readonly methods: Set<string>;
}

/** Who went where, for the report that a policy is written from. */
export class FlowTable {
  readonly #now: () => number;
  readonly #flows = new Map<string, { readonly key: FlowKey; readonly counter: FlowCounter }>();
  readonly #overflow: FlowCounter = { count: 0, wouldDeny: 0, lastSeenMs: 0, methods: new Set() };

  constructor(now: () => number) {
    this.#now = now;
  }

  counter(key: FlowKey): FlowCounter {
    const text = `${key.workload} ${key.host} ${key.port} ${key.protocol} ${key.policy ?? ""}`;
    const known = this.#flows.get(text);
    if (known !== undefined) return known.counter;
    if (this.#flows.size >= MAX_FLOWS) return this.#overflow;
    const counter: FlowCounter = { count: 0, wouldDeny: 0, lastSeenMs: 0, methods: new Set() };
    this.#flows.set(text, { key, counter });
    return counter;
  }

  count(counter: FlowCounter, wouldDeny: boolean, method?: string): void {
    counter.count += 1;
    counter.lastSeenMs = this.#now();
    if (wouldDeny) counter.wouldDeny += 1;
    if (method !== undefined && counter.methods.size < 16) counter.methods.add(method);
  }

  /** A stream to an imported service. */
  service(caller: SpiffeId, service: ServiceName, wouldDeny: boolean): void {
    const key = {
      workload: workloadName(caller),
      host: serviceKey(service),
      port: 0,
      protocol: "tcp",
    } as const;
    this.count(this.counter({ ...key, policy: undefined }), wouldDeny);
  }

  /** `lost`: decisions about flows that the table had no room for. */
  list(): { readonly flows: readonly EgressFlow[]; readonly lost: number } {
    const flows = [...this.#flows.values()]
      .filter(({ counter }) => counter.count > 0)
      .map(({ key, counter }) => ({
        workload: key.workload,
        host: key.host,
        port: key.port,
        protocol: key.protocol,
        ...(key.policy === undefined ? {} : { policy: key.policy }),
        methods: [...counter.methods].sort(),
        count: counter.count,
        wouldDeny: counter.wouldDeny,
        lastSeen: new Date(counter.lastSeenMs).toISOString(),
      }));
    return { flows, lost: this.#overflow.count };
  }
}
