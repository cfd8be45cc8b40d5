import net, { type Socket } from "node:net";
import { PROBLEMS, type Problem, problem } from "../../federation/model/problem.ts";
import {
  serviceAudience,
  serviceAuthority,
  serviceKey,
  type ServiceName,
} from "../../federation/model/service.ts";
import type { SpiffeId } from "../../federation/model/spiffe-id.ts";
import { workloadName } from "../../federation/model/workload-pattern.ts";
import {
  decideMesh,
  type Engine,
  ErrorCode,
  type Grant,
  LocalStream,
  type OpenedStream,
  type PodEntry,
  refusalOf,
  relay,
  type RelayCounters,
  type RequestFields,
  TUNNEL_HEADER,
  Upstream,
  type Watch,
} from "../../gateway/dataplane/index.ts";
import type { MemberContext } from "../../gateway/process/member.ts";
import { ofFamily } from "./endpoint-family.ts";
import { type Found, searchEndpoint, tryingOrder } from "./endpoint-search.ts";
import { FellowAgents } from "./fellow-agents.ts";

/** One endpoint of a service of this cluster, and how it is reached. */
export interface MeshEndpoint {
  readonly address: string;
  /** On this node: dialled from here. */
  readonly local: boolean;
  /** Tunnel listener of the agent beside it, elsewhere; absent where its node has none. */
  readonly agent?: string;
}

/** Services of this cluster whose calls go under mutual TLS, as the API server tells. */
export interface MeshServices {
  /** This one. */
  readonly node: string | undefined;
  readonly ports: Watch<readonly PodEntry[]>;
  endpoints(service: ServiceName, port: number): readonly MeshEndpoint[];
  /** Whether the service's namespace wants nothing else than mutual TLS. */
  isStrict(service: ServiceName): boolean;
}

export interface Mesh {
  open(host: string): Promise<void>;
  drain(): Promise<void>;
  close(): void;
}

const UNKNOWN_CALLER_MS = 1_000;
const NO_IDENTITY_MS = 5_000;
const ASK_AGAIN_MS = 20;
const MAX_WAITING = 1_024;

/**
 * Calls to this cluster's own services from this node's pods: the bytes go to the agent beside the pod that is called, through
 * a tunnel, under the caller's own identity; a pod of this node is dialled from here. What the bytes mean is not looked at.
 */
export function createMesh(context: MemberContext, engine: Engine, services: MeshServices): Mesh {
  return new MeshListeners(context, engine, services);
}

class MeshListeners implements Mesh {
  readonly #context: MemberContext;
  readonly #engine: Engine;
  readonly #services: MeshServices;
  readonly #agents: FellowAgents;
  readonly #servers = new Map<string, net.Server>();
  readonly #sockets = new Set<Socket>();
  readonly #counters: RelayCounters;
  #unsubscribe: (() => void) | undefined;
  #waiting = 0;

  constructor(context: MemberContext, engine: Engine, services: MeshServices) {
    this.#context = context;
    this.#engine = engine;
    this.#services = services;
    const { cluster, trustDomain } = context.discovery.state.current;
    const upstream = new Upstream(cluster, { trustDomain, role: "agent" }, engine.tunnels, () => {});
    this.#agents = new FellowAgents(upstream, context.now);
    const way = (name: string) =>
      engine.metrics.bytes.series({ direction: "mesh", service: "mesh", way: name });
    this.#counters = { up: way("up"), down: way("down") };
  }

  async open(host: string): Promise<void> {
    this.#unsubscribe = this.#services.ports.subscribe((ports) => void this.#listen(host, ports));
    await this.#listen(host, this.#services.ports.current);
  }

  async drain(): Promise<void> {
    const ended = [...this.#sockets].map((socket) => new Promise((resolve) => socket.once("close", resolve)));
    this.#stopListening();
    await Promise.all(ended);
  }

  close(): void {
    this.#stopListening();
    for (const socket of this.#sockets) socket.destroy();
    this.#agents.close();
  }

  #stopListening(): void {
    this.#unsubscribe?.();
    for (const server of this.#servers.values()) server.close();
    this.#servers.clear();
  }

  /** Connections under way go on when their port is left out. */
  async #listen(host: string, ports: readonly PodEntry[]): Promise<void> {
    const wanted = new Map(
      ports.map((entry) => [`${serviceKey(entry.service)}:${entry.port} ${entry.listen}`, entry]),
    );
    for (const [name, server] of this.#servers) {
      if (wanted.has(name)) continue;
      server.close();
      this.#servers.delete(name);
    }
    const missing = [...wanted].filter(([name]) => !this.#servers.has(name));
    await Promise.all(missing.map(([name, entry]) => this.#openPort(host, name, entry)));
  }

  #openPort(host: string, name: string, entry: PodEntry): Promise<void> {
    const server = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) =>
      this.#accept(socket, entry),
    );
    this.#servers.set(name, server);
    return new Promise((resolve) => {
      server.once("listening", resolve);
      server.on("error", (error) => {
        this.#servers.delete(name);
        const detail = `${host}:${entry.listen}: ${error.message}`;
        this.#context.log.error("listener_failed", { code: PROBLEMS.port_in_use.code, detail });
        resolve();
      });
      server.listen({ host, port: entry.listen });
    });
  }

  #accept(socket: Socket, entry: PodEntry): void {
    this.#sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.once("close", () => this.#sockets.delete(socket));
    const caller = this.#callerOf(socket);
    if (caller !== undefined && this.#context.discovery.credentials.has(caller))
      return this.#connect(socket, entry, caller);
    if (this.#waiting >= MAX_WAITING) return this.#refuse(socket, entry, undefined, unknown(socket));
    this.#waiting += 1;
    this.#await(socket, entry, this.#context.now());
  }

  #callerOf(socket: Socket): SpiffeId | undefined {
    return this.#context.discovery.services.pods?.callerOf(socket.remoteAddress ?? "");
  }

  #await(socket: Socket, entry: PodEntry, sinceMs: number): void {
    setTimeout(() => {
      const { discovery, now } = this.#context;
      const caller = this.#callerOf(socket);
      const isReady = caller !== undefined && discovery.credentials.has(caller);
      const patienceMs = caller === undefined ? UNKNOWN_CALLER_MS : NO_IDENTITY_MS;
      if (!isReady && !socket.destroyed && now() < sinceMs + patienceMs)
        return this.#await(socket, entry, sinceMs);
      this.#waiting -= 1;
      if (socket.destroyed) return;
      if (isReady) return this.#connect(socket, entry, caller);
      const reason = caller && problem("identity_pending", `${caller.uri} has no valid SVID here`);
      this.#refuse(socket, entry, caller, reason ?? unknown(socket));
    }, ASK_AGAIN_MS);
  }

  #connect(socket: Socket, entry: PodEntry, caller: SpiffeId): void {
    const { service, port } = entry;
    const given = ofFamily(this.#services.endpoints(service, port), socket);
    const isStrict = this.#services.isStrict(service);
    const { random } = this.#context;
    const endpoints = tryingOrder(given, { isStrict, isAway: (agent) => this.#agents.isAway(agent), random });
    if (endpoints.length === 0) return this.#refuse(socket, entry, caller, whyNone(entry, given));
    searchEndpoint({
      endpoints,
      agents: this.#agents,
      fields: ({ address }) => this.#fields(entry, caller, address),
      isOver: () => socket.destroyed,
      onFound: (found) => this.#reach(socket, entry, caller, found),
    });
  }

  #reach(socket: Socket, entry: PodEntry, caller: SpiffeId, found: Found): void {
    switch (found.kind) {
      case "local":
        return this.#deliver(socket, entry, caller, found.endpoint);
      case "plain":
        return this.#join(socket, entry, caller, new LocalStream(found.endpoint.address));
      case "tunnel":
        return this.#join(socket, entry, caller, found.stream);
      case "none": {
        const reason = problem("gateway_unreachable", `no tunnel to the agent at ${found.tried.join(", ")}`);
        return this.#refuse(socket, entry, caller, reason);
      }
    }
  }

  /** A pod of this node: what its agent would ask is asked here. */
  #deliver(socket: Socket, entry: PodEntry, caller: SpiffeId, { address }: MeshEndpoint): void {
    const { service, port } = entry;
    const { tables, arrivals, grants } = this.#engine;
    const judge = () => decideMesh(tables.current, undefined, service, port, caller);
    const verdict = judge();
    if (verdict.kind === "refuse") return this.#refuse(socket, entry, caller, verdict.problem);
    const { requests } = verdict.permit;
    const grant: Grant = {
      bagSlot: -1,
      recheck() {
        const again = judge();
        if (again.kind === "refuse") return again.problem;
        return again.permit.requests === "enforce" && requests !== "enforce"
          ? problem("authorization_denied", "its requests are judged since the rules changed")
          : undefined;
      },
      cut: (reason) => this.#refuse(socket, entry, caller, reason),
    };
    grants.add(grant);
    socket.once("close", () => grants.delete(grant));
    const labels = { workload: workloadName(caller), service: serviceKey(service), port: String(port) };
    const join = requests === "none" ? relay : arrivals.join({ service, port, caller, labels }, requests);
    this.#join(socket, entry, caller, new LocalStream(address), join);
  }

  #fields({ service, port }: PodEntry, caller: SpiffeId, address: string): RequestFields | undefined {
    const { credentials, state } = this.#context.discovery;
    const token = credentials.callerToken(caller, serviceAudience(state.current.trustDomain, service));
    if (token === undefined) return undefined;
    return {
      ":method": "CONNECT",
      ":authority": address,
      [TUNNEL_HEADER.service]: serviceAuthority(service, port),
      [TUNNEL_HEADER.caller]: token,
    };
  }

  #join<S extends OpenedStream>(
    socket: Socket,
    entry: PodEntry,
    caller: SpiffeId,
    stream: S,
    join: (asking: Socket, answering: S, counters: RelayCounters) => void = relay,
  ): void {
    stream.once("response", (headers) => {
      if (headers[":status"] === 200) return;
      this.#refuse(socket, entry, caller, refusalOf(headers));
      stream.close(ErrorCode.cancel);
    });
    join(socket, stream, this.#counters);
    socket.resume();
  }

  #refuse(socket: Socket, { service, port }: PodEntry, caller: SpiffeId | undefined, reason: Problem): void {
    const { metrics, events } = this.#engine;
    metrics.refusals.series({ code: PROBLEMS[reason.name].code }).value += 1;
    const who = caller === undefined ? { peer: socket.remoteAddress } : { caller: caller.uri };
    events.refusal("refused", reason, { ...who, service: serviceKey(service), port });
    socket.resetAndDestroy();
  }
}

/** No endpoint may be called. */
function whyNone({ service, port }: PodEntry, given: readonly MeshEndpoint[]): Problem {
  const [first] = given;
  if (first === undefined) return problem("no_endpoint", `${serviceKey(service)}:${port}`);
  const detail = `no agent runs beside ${first.address}, and ${service.namespace} is strict`;
  return problem("gateway_unreachable", detail);
}

function unknown(socket: Socket): Problem {
  return problem("caller_unknown", `${socket.remoteAddress ?? "unknown"} is no pod of this node`);
}
