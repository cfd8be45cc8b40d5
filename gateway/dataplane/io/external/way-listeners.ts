import net, { type Socket } from "node:net";
import { formatAddress, parseAddress } from "../../../../federation/model/address.ts";
import type { Destination } from "../../../../federation/model/external-host.ts";
import { parseExternalHost } from "../../../../federation/model/external-host.ts";
import type { Logger } from "../../../../federation/model/log.ts";
import { PROBLEMS, type ProblemName } from "../../../../federation/model/problem.ts";
import type { WorkloadListenerStatus } from "../../../../federation/model/resource.ts";
import type { SpiffeId } from "../../../../federation/model/spiffe-id.ts";
import { workloadName } from "../../../../federation/model/workload-pattern.ts";
import type { Watch } from "../../lifecycle/watch.ts";
import { hasWaysOut, namedHosts } from "../../policy/egress-table.ts";
import type { RouteTables } from "../../routing/tables.ts";
import { letGo } from "../closed-socket.ts";
import type { AllocateAddresses, ListenerKey } from "../listener-set.ts";
import { Reconciliation } from "../reconciliation.ts";
import { listenShared, type PortClaims } from "../shared-port.ts";
import type { Way } from "./gate.ts";

export interface WayEnvironment {
  readonly tables: Watch<RouteTables | undefined>;
  /** Takes a workload's connection: the gate of this process, or a tunnel to the gateway's. */
  readonly accept: (socket: Socket, caller: SpiffeId, way: Way) => void;
  readonly allocate: AllocateAddresses;
  readonly claims: PortClaims;
  readonly log: Logger;
  readonly onChange: () => void;
}

interface Wanted {
  readonly key: ListenerKey;
  readonly status: Omit<WorkloadListenerStatus, "address">;
  readonly caller: SpiffeId;
  readonly way: Way;
}

interface Open {
  readonly server: net.Server;
  readonly sockets: Set<Socket>;
  readonly status: WorkloadListenerStatus;
}

const RETRY_MS = 500;
/** The usual port of a forward proxy; what a workload dials is the address that is given out for it. */
const PROXY_PORT = 3128;
const SNI_PORT = 443;
// One workload's connections by all of its ways; the next one is closed at once. Through an agent each holds a stream of the
// tunnels that all workloads of the node share (4,096 a session, two sessions): one workload must not take them all.
const MAX_CONNECTIONS = 4_000;
// Addresses of one workload: hosts beyond are reached by the proxy, or by SNI.
const MAX_HOSTS = 256;

/**
 * Each workload's own ways out: one address for every host that its policies name, one for the HTTP proxy, one that routes
 * by SNI. The address says who calls. They stay open when a permission goes, so that the workload is told why.
 */
export class WayListeners {
  readonly #env: WayEnvironment;
  readonly #open = new Map<string, Open>();
  readonly #reported = new Set<string>();
  readonly #reconciliation = new Reconciliation(() => this.#reconcile());
  /** Connections by workload. */
  readonly #held = new Map<string, number>();
  #workloads: readonly SpiffeId[] = [];

  constructor(env: WayEnvironment) {
    this.#env = env;
    env.tables.subscribe(() => void this.#reconciliation.request());
  }

  setWorkloads(workloads: readonly SpiffeId[]): Promise<void> {
    this.#workloads = workloads;
    return this.#reconciliation.request();
  }

  status(): readonly WorkloadListenerStatus[] {
    return [...this.#open.values()].map(({ status }) => status);
  }

  /** Stops accepting; connections are the gate's to finish. */
  drain(): void {
    this.#reconciliation.close();
    for (const { server } of this.#open.values()) server.close();
  }

  close(): void {
    this.drain();
    for (const { sockets } of this.#open.values()) for (const socket of sockets) socket.destroy();
    this.#open.clear();
  }

  async #reconcile(): Promise<void> {
    this.#closeGone();
    const missing = [...this.#wanted()].filter(([name]) => !this.#open.has(name));
    if (missing.length === 0) return;
    const allocated = await this.#env.allocate(missing.map(([, { key }]) => key));
    if (!allocated.ok) return this.#retry("addresses", allocated.error.detail);
    this.#reported.delete("addresses");
    for (const [index, [name, want]] of missing.entries())
      await this.#listen(name, want, allocated.value[index]);
    this.#env.onChange();
  }

  #wanted(): ReadonlyMap<string, Wanted> {
    const wanted = new Map<string, Wanted>();
    const { current } = this.#env.tables;
    if (current === undefined) return wanted;
    for (const caller of this.#workloads) {
      if (!hasWaysOut(current.egress, caller)) continue;
      const workload = workloadName(caller);
      const add = (
        service: string,
        port: number,
        kind: WorkloadListenerStatus["way"] & string,
        way: Way,
      ): void => {
        const key = { workload, service: `${kind}:${service}`, port };
        const status = { workload, service, port, way: kind };
        wanted.set(`${workload} ${key.service} ${port}`, { key, status, caller, way });
      };
      add("proxy", PROXY_PORT, "proxy", { kind: "proxy" });
      add("sni", SNI_PORT, "sni", { kind: "sni" });
      const hosts = namedHosts(current.egress, caller);
      if (hosts.length > MAX_HOSTS)
        this.#complain(
          `${workload} hosts`,
          `${hosts.length} hosts are named for ${workload}; ${MAX_HOSTS} get an address, the others are reached by its proxy`,
        );
      for (const { hostname, port } of hosts.slice(0, MAX_HOSTS)) {
        const destination = destinationOf(hostname, port);
        if (destination !== undefined) add(hostname, port, "address", { kind: "address", destination });
      }
    }
    return wanted;
  }

  /** Only with its workload does a way end. */
  #closeGone(): void {
    const workloads = new Set(this.#workloads.map(workloadName));
    for (const [name, { server, sockets, status }] of this.#open) {
      if (workloads.has(status.workload)) continue;
      this.#open.delete(name);
      server.close();
      for (const socket of sockets) socket.destroy();
    }
  }

  async #listen(name: string, { status, caller, way }: Wanted, text: string | undefined): Promise<void> {
    const address = parseAddress(text ?? "");
    if (!address.ok || this.#reconciliation.isClosed) return;
    const sockets = new Set<Socket>();
    const { workload } = status;
    const server = net.createServer(
      { allowHalfOpen: true, noDelay: true, pauseOnConnect: true },
      (socket) => {
        const held = this.#held.get(workload) ?? 0;
        if (held >= MAX_CONNECTIONS) return this.#crowd(socket, workload);
        this.#held.set(workload, held + 1);
        sockets.add(socket);
        socket.once("close", () => {
          sockets.delete(socket);
          this.#left(workload);
          letGo(socket);
        });
        this.#env.accept(socket, caller, way);
      },
    );
    try {
      const bound = formatAddress(await listenShared(server, address.value, this.#env.claims));
      if (this.#reconciliation.isClosed) return void server.close();
      this.#reported.delete(name);
      this.#open.set(name, { server, sockets, status: { ...status, address: bound } });
    } catch (error) {
      this.#retry(name, `${text}: ${(error as Error).message}`);
    }
  }

  #crowd(socket: Socket, workload: string): void {
    const detail = `more than ${MAX_CONNECTIONS} connections of ${workload} to the outside`;
    this.#complain(`${workload} crowded`, detail, "overloaded");
    socket.resetAndDestroy();
  }

  #left(workload: string): void {
    const held = (this.#held.get(workload) ?? 1) - 1;
    this.#held.set(workload, held);
    // Told anew when it happens again.
    if (held < MAX_CONNECTIONS / 2) this.#reported.delete(`${workload} crowded`);
  }

  #retry(what: string, detail: string): void {
    this.#complain(what, detail);
    this.#reconciliation.requestIn(RETRY_MS);
  }

  /** Logged once for as long as it holds. */
  #complain(what: string, detail: string, name: ProblemName = "port_in_use"): void {
    if (!this.#reported.has(what))
      this.#env.log.error("way_out_failed", { code: PROBLEMS[name].code, detail });
    this.#reported.add(what);
  }
}

function destinationOf(hostname: string, port: number): Destination | undefined {
  const host = parseExternalHost(hostname);
  return host.ok ? { host: host.value, port } : undefined;
}
