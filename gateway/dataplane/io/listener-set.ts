import { parseAddress } from "../../../federation/model/address.ts";
import { type Problem, PROBLEMS } from "../../../federation/model/problem.ts";
import type { Result } from "../../../federation/model/result.ts";
import type { WorkloadListenerFailure, WorkloadListenerStatus } from "../../../federation/model/resource.ts";
import { type ServiceName, serviceKey } from "../../../federation/model/service.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import { workloadName } from "../../../federation/model/workload-pattern.ts";
import type { Logger } from "../../../federation/model/log.ts";
import type { EntryEnvironment } from "./entry.ts";
import { Reconciliation } from "./reconciliation.ts";
import { type DeclaredProtocol, WorkloadListener } from "./workload-listener.ts";

export interface ListenerKey {
  readonly workload: string;
  readonly service: string;
  readonly port: number;
}

/** Gives every key its stable local address, in the order of `keys`. */
export type AllocateAddresses = (keys: readonly ListenerKey[]) => Promise<Result<readonly string[], Problem>>;

const RETRY_MS = 500;
const ALLOCATION = "addresses";

interface Wanted extends ListenerKey {
  readonly caller: SpiffeId;
  readonly serviceName: ServiceName;
  readonly declared: DeclaredProtocol;
}

/**
 * One listener for every workload and port of an imported service. A listener outlives its import, so that a workload that
 * lost a permission is told why instead of finding its port closed.
 */
export class ListenerSet {
  readonly #env: EntryEnvironment;
  readonly #allocate: AllocateAddresses;
  readonly #log: Logger;
  readonly #onChange: () => void;
  readonly #listeners = new Map<
    string,
    { readonly listener: WorkloadListener; readonly status: WorkloadListenerStatus }
  >();
  #workloads: readonly SpiffeId[] = [];
  readonly #failures = new Map<string, WorkloadListenerFailure>();
  /** Failures that were logged and still hold. */
  readonly #reported = new Set<string>();
  readonly #reconciliation = new Reconciliation(() => this.#reconcile());

  constructor(env: EntryEnvironment, allocate: AllocateAddresses, log: Logger, onChange: () => void) {
    this.#env = env;
    this.#allocate = allocate;
    this.#log = log;
    this.#onChange = onChange;
    env.tables.subscribe(() => this.#reconciliation.request());
  }

  setWorkloads(workloads: readonly SpiffeId[]): Promise<void> {
    this.#workloads = workloads;
    return this.#reconciliation.request();
  }

  status(): readonly WorkloadListenerStatus[] {
    const { current } = this.#env.tables;
    return [...this.#listeners.values()]
      .filter(({ status }) => current?.imports.get(status.service)?.ports.has(status.port))
      .map(({ listener, status }) => ({ ...status, protocol: listener.protocol }));
  }

  /** Those that are wanted and not there, and why. */
  failures(): readonly WorkloadListenerFailure[] {
    return [...this.#failures.values()];
  }

  find(key: ListenerKey): WorkloadListener | undefined {
    return this.#listeners.get(nameOf(key))?.listener;
  }

  async drain(): Promise<void> {
    this.#reconciliation.close();
    await Promise.all([...this.#listeners.values()].map(({ listener }) => listener.drain()));
  }

  close(): void {
    this.#reconciliation.close();
    for (const { listener } of this.#listeners.values()) listener.close();
    this.#listeners.clear();
  }

  async #reconcile(): Promise<void> {
    const wanted = this.#wanted();
    this.#closeLeft(wanted);
    for (const name of this.#failures.keys()) if (!wanted.has(name)) this.#recovered(name);
    const missing = [...wanted].filter(([name]) => !this.#listeners.has(name)).map(([, want]) => want);
    if (missing.length === 0) return this.#onChange();
    const allocated = await this.#allocate(missing);
    if (!allocated.ok) {
      this.#retry(allocated.error, ALLOCATION, missing);
      return this.#onChange();
    }
    this.#reported.delete(ALLOCATION);
    for (const [index, want] of missing.entries()) await this.#open(want, allocated.value[index]);
    this.#onChange();
  }

  #wanted(): ReadonlyMap<string, Wanted> {
    const wanted = new Map<string, Wanted>();
    for (const { service: serviceName, ports } of this.#env.tables.current?.imports.values() ?? []) {
      for (const { port, protocol, appProtocol } of ports.values()) {
        const declared = { protocol, ...(appProtocol === undefined ? {} : { appProtocol }) };
        for (const caller of this.#workloads) {
          const want = {
            workload: workloadName(caller),
            service: serviceKey(serviceName),
            port,
            caller,
            serviceName,
            declared,
          };
          wanted.set(nameOf(want), want);
        }
      }
    }
    return wanted;
  }

  /** Ends listeners of workloads that are gone, and those whose port speaks another protocol now. */
  #closeLeft(wanted: ReadonlyMap<string, Wanted>): void {
    const workloads = new Set(this.#workloads.map(workloadName));
    for (const [name, { listener, status }] of this.#listeners) {
      const declared = wanted.get(name)?.declared ?? listener.declared;
      const same = declared.protocol === listener.declared.protocol;
      if (same) listener.declared = declared;
      if (workloads.has(status.workload) && same) continue;
      this.#listeners.delete(name);
      listener.close();
    }
  }

  async #open(want: Wanted, text: string | undefined): Promise<void> {
    const address = parseAddress(text ?? "");
    if (!address.ok || this.#reconciliation.isClosed) return;
    const { caller, serviceName, port, declared, workload, service } = want;
    const key = { caller, service: serviceName, port };
    const listener = new WorkloadListener(key, declared, this.#env, { onDetected: this.#onChange });
    try {
      const bound = await listener.listen(address.value);
      if (this.#reconciliation.isClosed) return listener.close();
      this.#recovered(nameOf(want));
      this.#listeners.set(nameOf(want), { listener, status: { workload, service, port, address: bound } });
    } catch (error) {
      listener.close();
      const { code, message } = error as NodeJS.ErrnoException;
      const detail = code === "EADDRINUSE" ? `another program listens on ${text}` : `${text}: ${message}`;
      this.#retry({ name: "port_in_use", detail }, nameOf(want), [want]);
    }
  }

  /** Again and again, but logged once: a port may stay taken for days. */
  #retry({ name, detail }: Problem, what: string, failed: readonly Wanted[]): void {
    const { code } = PROBLEMS[name];
    for (const want of failed) {
      const { workload, service, port } = want;
      this.#failures.set(nameOf(want), { workload, service, port, code, detail });
    }
    if (!this.#reported.has(what)) this.#log.error("listener_failed", { code, detail });
    this.#reported.add(what);
    this.#reconciliation.requestIn(RETRY_MS);
  }

  #recovered(name: string): void {
    this.#failures.delete(name);
    this.#reported.delete(name);
  }
}

function nameOf({ workload, service, port }: ListenerKey): string {
  return `${workload} ${service} ${port}`;
}
