import net, { type Socket } from "node:net";
import { type Address, formatAddress } from "../../../federation/model/address.ts";
import { problem } from "../../../federation/model/problem.ts";
import type { ProtocolStatus } from "../../../federation/model/resource.ts";
import type { ServicePort } from "../../../federation/model/service.ts";
import type { EntryForward } from "../routing/decide.ts";
import type { Spoken } from "../routing/detect-protocol.ts";
import { Entry, type EntryEnvironment, type EntryKey } from "./entry.ts";
import { Bag } from "./bag.ts";
import { STALLED_READER_MS } from "./client-patience.ts";
import { letGo } from "./closed-socket.ts";
import { Http1Connection, type Http1Host } from "./http1-connection.ts";
import { Http2Connection, type Http2Host } from "./http2-connection.ts";
import { Http2Pool } from "./http2-pool.ts";
import { Mirrors } from "./mirrors.ts";
import { listenShared } from "./shared-port.ts";
import { StreamPool } from "./stream-pool.ts";
import { TcpConnection } from "./tcp-connection.ts";
import { expireDue, TICK_MS } from "./ticker.ts";
import { holdTurn } from "./turn.ts";
import {
  DETECTED_BY,
  type DetectedBy,
  type DetectionHost,
  UndecidedConnection,
} from "./undecided-connection.ts";

/** One workload's connections to one service port; the next one is closed at once. */
const MAX_CONNECTIONS = 10_000;

// What a slow reader may leave with us before its stream is paused: with less, a fast one pauses it at every turn.
const READER_BUFFER_BYTES = 256 * 1024;

export type DeclaredProtocol = Pick<ServicePort, "protocol" | "appProtocol">;

export interface WorkloadListenerOptions {
  /** `protocol` says something new. */
  readonly onDetected?: () => void;
  readonly maxConnections?: number;
}

/** The local address by which one workload reaches one port of one imported service. */
export class WorkloadListener implements Http1Host, Http2Host, DetectionHost {
  readonly entry: Entry;
  /** How the port's owner declared it. Another word for the same protocol may come later. */
  declared: DeclaredProtocol;
  coarseNow: number;
  draining = false;
  readonly mirrors: Mirrors;
  held = 0;
  readonly stalledReaderMs = STALLED_READER_MS;
  readonly forms = "origin";
  readonly #server: net.Server;
  /** By the target's id. */
  readonly #pools = new Map<string, StreamPool>();
  readonly #http2Pools = new Map<string, Http2Pool>();
  readonly #http = new Bag<Http1Connection>();
  readonly #http2 = new Bag<Http2Connection>();
  readonly #tcp = new Bag<TcpConnection>();
  readonly #undecided = new Bag<UndecidedConnection>();
  readonly #detected = new Set<DetectedBy>();
  readonly #onDetected: () => void;
  readonly #ticker: NodeJS.Timeout;
  #onDrained: (() => void) | undefined;

  constructor(
    key: EntryKey,
    declared: DeclaredProtocol,
    env: EntryEnvironment,
    { onDetected = () => {}, maxConnections = MAX_CONNECTIONS }: WorkloadListenerOptions = {},
  ) {
    this.entry = new Entry(key, env);
    this.mirrors = new Mirrors(this.entry, (target) => this.poolOf(target));
    this.declared = declared;
    this.#onDetected = onDetected;
    this.coarseNow = env.now();
    this.#server = net.createServer({ allowHalfOpen: true, highWaterMark: READER_BUFFER_BYTES }, (socket) =>
      this.#accept(socket),
    );
    this.#server.maxConnections = maxConnections;
    const crowded = problem("overloaded", `more than ${maxConnections} connections of one workload`);
    this.#server.on("drop", () => this.entry.refused(crowded));
    this.#ticker = setInterval(() => this.#tick(env.now()), TICK_MS).unref();
    this.entry.onDecision(() => {
      for (const connection of this.#tcp.all()) connection.recheck();
      for (const connection of this.#http.all()) connection.recheck();
      for (const connection of this.#http2.all()) connection.recheck();
    });
  }

  /** Streams to one target, of all connections. */
  poolOf(target: EntryForward): StreamPool {
    const known = this.#pools.get(target.id);
    if (known !== undefined) return known;
    const made = new StreamPool(this.entry, target);
    this.#pools.set(target.id, made);
    return made;
  }

  /** Sessions with one target, of all connections. */
  http2PoolOf(target: EntryForward): Http2Pool {
    const known = this.#http2Pools.get(target.id);
    if (known !== undefined) return known;
    const made = new Http2Pool(this.entry, target);
    this.#http2Pools.set(target.id, made);
    return made;
  }

  /** Resolves with the bound address; several agents, and a successor, may share it. */
  async listen(address: Address): Promise<string> {
    return formatAddress(await listenShared(this.#server, address, this.entry.env.claims));
  }

  get protocol(): ProtocolStatus {
    const { protocol, appProtocol } = this.declared;
    if (protocol !== "detect") return { name: protocol, why: `declared as ${appProtocol ?? protocol}` };
    const seen = [...this.#detected].map((by) => DETECTED_BY[by]);
    return { name: protocol, why: `not declared; seen: ${seen.join(", ") || "no connection yet"}` };
  }

  /** Takes over a connection that somebody else accepted. */
  adopt(socket: Socket): void {
    if (this.draining || this.connections >= this.#server.maxConnections) socket.destroy();
    else this.#accept(socket);
  }

  /** Connections under way. */
  get connections(): number {
    return this.#http.size + this.#http2.size + this.#tcp.size;
  }

  closed(connection: Http1Connection): void {
    this.#http.delete(connection);
    this.#onClosed(connection.socket);
  }

  closedHttp2(connection: Http2Connection): void {
    this.#http2.delete(connection);
    this.#onClosed(connection.socket);
  }

  becameHttp2(connection: Http1Connection, bytes: Buffer): void {
    this.#http.delete(connection);
    this.#openHttp2(connection.socket).receive(bytes);
  }

  /**
   * Stops accepting and resolves when the last connection ended. HTTP connections are told to close with their next
   * response; idle ones get two seconds, since their next request may be under way.
   */
  drain(): Promise<void> {
    this.draining = true;
    this.#server.close();
    for (const connection of this.#http2.all()) connection.drain();
    return new Promise((resolve) => {
      this.#onDrained = resolve;
      this.#checkDrained();
    });
  }

  close(): void {
    clearInterval(this.#ticker);
    this.#server.close();
    this.entry.close();
    for (const bag of [this.#undecided, this.#http, this.#http2, this.#tcp])
      for (const { socket } of bag.all()) socket.destroy();
    this.mirrors.close();
    for (const pool of [...this.#pools.values(), ...this.#http2Pools.values()]) pool.close();
  }

  #accept(socket: Socket): void {
    holdTurn();
    const { connections, openConnections } = this.entry.counters;
    connections.value += 1;
    openConnections.value += 1;
    const { protocol } = this.declared;
    if (protocol === "detect") this.#undecided.add(new UndecidedConnection(socket, this));
    else this.serve(socket, protocol === "http" ? "http1" : "tcp");
  }

  // ---- for connections whose protocol nobody declared ---------------------------------------------------------------

  serve(socket: Socket, spoken: Spoken, abandoned?: TcpConnection): void {
    if (abandoned !== undefined) this.#tcp.delete(abandoned);
    if (spoken === "http1") this.#http.add(new Http1Connection(socket, this));
    else if (spoken === "http2") this.#openHttp2(socket);
    else this.#openTcp(socket);
  }

  openSilent(socket: Socket, onServerFirst: () => void): TcpConnection {
    return this.#openTcp(socket, onServerFirst);
  }

  /** Told on only when it is news, since what is told goes to the registry. */
  detected(by: DetectedBy): void {
    if (this.#detected.has(by)) return;
    this.#detected.add(by);
    this.#onDetected();
  }

  left(connection: UndecidedConnection, gone: boolean): void {
    this.#undecided.delete(connection);
    if (gone) this.#onClosed(connection.socket);
  }

  #openHttp2(socket: Socket): Http2Connection {
    socket.setNoDelay(true);
    const connection = new Http2Connection(socket, this);
    this.#http2.add(connection);
    if (this.draining) connection.drain();
    return connection;
  }

  #openTcp(socket: Socket, onServerFirst?: () => void): TcpConnection {
    socket.setNoDelay(true);
    const onClosed = (closed: TcpConnection): void => {
      this.#tcp.delete(closed);
      this.#onClosed(closed.socket);
    };
    const connection = new TcpConnection(socket, this.entry, {
      onClosed,
      ...(onServerFirst === undefined ? {} : { onServerFirst }),
    });
    this.#tcp.add(connection);
    return connection;
  }

  #onClosed(socket: Socket): void {
    letGo(socket);
    this.entry.counters.openConnections.value -= 1;
    this.#checkDrained();
  }

  #tick(now: number): void {
    this.coarseNow = now;
    expireDue(this.#http.all(), now);
    for (const connection of this.#http2.all()) connection.tick(now);
    this.mirrors.expire(now);
    for (const pool of this.#pools.values()) this.#sweepPool(pool, now);
    for (const pool of this.#http2Pools.values()) {
      pool.sweep(now);
      if (!pool.isEmpty) continue;
      this.#http2Pools.delete(pool.target.id);
      pool.close();
    }
    if (!this.draining) return;
    for (const connection of this.#http.all()) connection.endIfIdle();
    for (const connection of this.#http2.all()) connection.drain();
  }

  /** A target that rules no longer choose must not keep its pool for ever. */
  #sweepPool(pool: StreamPool, now: number): void {
    pool.sweep(now);
    if (!pool.isEmpty) return;
    this.#pools.delete(pool.target.id);
    pool.close();
  }

  #checkDrained(): void {
    const open = this.connections + this.#undecided.size;
    if (this.draining && open === 0) this.#onDrained?.();
  }
}
