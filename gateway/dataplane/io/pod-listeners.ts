import net, { type Socket } from "node:net";
import type { Logger } from "../../../federation/model/log.ts";
import { PROBLEMS, problem } from "../../../federation/model/problem.ts";
import { type ServiceName, serviceKey } from "../../../federation/model/service.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import type { EntryEnvironment } from "./entry.ts";
import { listenShared } from "./shared-port.ts";
import { WorkloadListener } from "./workload-listener.ts";

/** Where connections for one port of an imported service arrive. */
export interface PodEntry {
  readonly service: ServiceName;
  readonly port: number;
  readonly listen: number;
}

export interface PodListenersOptions {
  readonly env: EntryEnvironment;
  readonly host: string;
  /** The workload behind a source address. */
  readonly callerOf: (address: string) => SpiffeId | undefined;
  /** Whether this process can speak for a workload. */
  readonly hasIdentity: (caller: SpiffeId) => boolean;
  readonly log: Logger;
}

// A pod may call before the word of its address has come here, or its identity; its first connection waits this long.
const UNKNOWN_CALLER_MS = 1_000;
const NO_IDENTITY_MS = 5_000;
const ASK_AGAIN_MS = 20;
const MAX_WAITING = 1_024;
const RETRY_MS = 500;
// Accounts that called a service once are forgotten when they are silent, so that churn does not add up.
const SWEEP_MS = 60_000;
const UNDECLARED = { protocol: "detect" } as const;

/**
 * Listeners that many workloads share: one for each port of an imported service. Who calls is read off the source address,
 * which the network of pods vouches for; everything after that is as at a workload's own local address.
 */
export class PodListeners {
  readonly #options: PodListenersOptions;
  readonly #listeners = new Map<string, PodListener>();
  readonly #sweeper: NodeJS.Timeout;
  #wanted: readonly PodEntry[] = [];
  #closed = false;

  constructor(options: PodListenersOptions) {
    this.#options = options;
    this.#sweeper = setInterval(() => {
      for (const listener of this.#listeners.values()) listener.sweep();
    }, SWEEP_MS).unref();
  }

  /** Listens at exactly these; connections of what is left out end. */
  async set(entries: readonly PodEntry[]): Promise<void> {
    this.#wanted = entries;
    const wanted = new Map(entries.map((entry) => [nameOf(entry), entry]));
    for (const [name, listener] of this.#listeners) {
      if (wanted.has(name)) continue;
      this.#listeners.delete(name);
      listener.close();
    }
    const missing = [...wanted].filter(([name]) => !this.#listeners.has(name));
    await Promise.all(missing.map(([name, entry]) => this.#open(name, entry)));
  }

  get open(): number {
    return this.#listeners.size;
  }

  async drain(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#listeners.values()].map((listener) => listener.drain()));
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#sweeper);
    for (const listener of this.#listeners.values()) listener.close();
    this.#listeners.clear();
  }

  async #open(name: string, entry: PodEntry): Promise<void> {
    const listener = new PodListener(entry, this.#options);
    this.#listeners.set(name, listener);
    try {
      await listener.listen();
    } catch (error) {
      this.#listeners.delete(name);
      listener.close();
      const detail = `${this.#options.host}:${entry.listen}: ${(error as Error).message}`;
      this.#options.log.error("listener_failed", { code: PROBLEMS.port_in_use.code, detail });
      setTimeout(() => {
        if (!this.#closed) void this.set(this.#wanted);
      }, RETRY_MS).unref();
    }
  }
}

class PodListener {
  readonly #entry: PodEntry;
  readonly #options: PodListenersOptions;
  readonly #server: net.Server;
  /** By caller and protocol: its connections, its decision, its counters. */
  readonly #callers = new Map<string, WorkloadListener>();
  #waiting = 0;

  constructor(entry: PodEntry, options: PodListenersOptions) {
    this.#entry = entry;
    this.#options = options;
    this.#server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
  }

  async listen(): Promise<void> {
    const { host } = this.#options;
    await listenShared(this.#server, { host, port: this.#entry.listen }, this.#options.env.claims);
  }

  sweep(): void {
    for (const [key, listener] of this.#callers) {
      if (listener.connections > 0) continue;
      this.#callers.delete(key);
      listener.close();
    }
  }

  async drain(): Promise<void> {
    this.#server.close();
    await Promise.all([...this.#callers.values()].map((listener) => listener.drain()));
  }

  close(): void {
    this.#server.close();
    for (const listener of this.#callers.values()) listener.close();
    this.#callers.clear();
  }

  #accept(socket: Socket): void {
    const caller = this.#options.callerOf(socket.remoteAddress ?? "");
    if (caller !== undefined && this.#options.hasIdentity(caller))
      return this.#listenerOf(caller).adopt(socket);
    if (this.#waiting >= MAX_WAITING) return this.#refuse(socket, caller);
    this.#waiting += 1;
    socket.once("error", () => socket.destroy());
    this.#await(socket, this.#options.env.now());
  }

  #await(socket: Socket, sinceMs: number): void {
    setTimeout(() => {
      const { env, callerOf, hasIdentity } = this.#options;
      const caller = callerOf(socket.remoteAddress ?? "");
      const isReady = caller !== undefined && hasIdentity(caller);
      const patienceMs = caller === undefined ? UNKNOWN_CALLER_MS : NO_IDENTITY_MS;
      const isOver = socket.destroyed || env.now() >= sinceMs + patienceMs;
      if (!isReady && !isOver) return this.#await(socket, sinceMs);
      this.#waiting -= 1;
      if (socket.destroyed) return;
      if (isReady) this.#listenerOf(caller).adopt(socket);
      else this.#refuse(socket, caller);
    }, ASK_AGAIN_MS);
  }

  /** Nobody vouches for the address, or nobody gave us the identity: no service. */
  #refuse(socket: Socket, caller: SpiffeId | undefined): void {
    const { env } = this.#options;
    const address = socket.remoteAddress ?? "unknown";
    const reason =
      caller === undefined
        ? problem("caller_unknown", `${address} is no pod of this cluster`)
        : problem("identity_pending", `${caller.uri} has no valid SVID here`);
    env.metrics.refusals.series({ code: PROBLEMS[reason.name].code }).value += 1;
    env.events.refusal("refused", reason, { peer: address, service: serviceKey(this.#entry.service) });
    socket.destroy();
  }

  #listenerOf(caller: SpiffeId): WorkloadListener {
    const { env } = this.#options;
    const { service, port } = this.#entry;
    const declared = env.tables.current?.imports.get(serviceKey(service))?.ports.get(port) ?? UNDECLARED;
    const key = `${caller.uri} ${declared.protocol}`;
    const known = this.#callers.get(key);
    if (known !== undefined) return known;
    const made = new WorkloadListener({ caller, service, port }, declared, env);
    this.#callers.set(key, made);
    return made;
  }
}

function nameOf({ service, port, listen }: PodEntry): string {
  return `${serviceKey(service)}:${port} ${listen}`;
}
