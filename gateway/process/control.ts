import { clustersetHost, parseServiceAuthority, serviceKey } from "../../federation/model/service.ts";
import {
  type ControlMessage,
  ControlLinks,
  ControlServer,
  type EntryForward,
  type Engine,
  Guard,
  type Peer,
  type Readiness,
  readinessKey,
  ReadinessTable,
  versionKey,
  REFUSED_MS,
  SharedLimits,
  type TunnelRequest,
  type Upstream,
} from "../dataplane/index.ts";
import type { MemberContext } from "./member.ts";

export interface ControlOptions {
  readonly role: "gateway" | "agent";
  /** Gateways: the processes among whom limits are divided, its own address among them. */
  readonly owners?: () => Upstream;
  /** What this process knows by itself of a service at a cluster: `undefined` where only others can tell. */
  readonly observe: (target: Observed, version?: string) => Readiness | undefined;
  /** Versions of a service whose endpoints this process knows itself. */
  readonly versions?: (target: Observed) => readonly string[];
}

type Observed = Pick<EntryForward, "local" | "service" | "port" | "destination">;

/** No gateway of the cluster can be reached. */
export const AWAY: Readiness = { ready: 0, total: 1 };

/**
 * What gateways and agents tell each other beside the traffic: gateways how many endpoints of their services are ready, to the
 * clusters that may use them and to their own agents; all of them the tokens of shared limits.
 */
export class Control {
  readonly guard: Guard;
  readonly #context: MemberContext;
  readonly #engine: Engine;
  readonly #options: ControlOptions;
  readonly #self: string;
  readonly #readiness = new ReadinessTable(() => this.changed());
  readonly #server: ControlServer;
  readonly #limits: SharedLimits;
  /** By the name of a gateway: how to ask it. */
  readonly #leaders = new Map<string, (message: ControlMessage) => void>();
  readonly #closers = new Set<() => void>();

  constructor(context: MemberContext, engine: Engine, options: ControlOptions) {
    this.#context = context;
    this.#engine = engine;
    this.#options = options;
    // New with every start: what a predecessor of the same name was granted is gone with it.
    this.#self = `${options.role}-${Math.floor(context.random() * 2 ** 48).toString(36)}`;
    this.#limits = this.#createLimits();
    this.#server = new ControlServer({
      self: this.#self,
      servicesFor: (peer) => this.#servicesFor(peer),
      onCame: (member) => this.#limits.memberCame(member),
      onMessage: (member, { ask, lend }) => {
        if (lend !== undefined) this.#limits.lent(member, lend);
        for (const [key, [wanted, held]] of Object.entries(ask ?? {}))
          this.#limits.asked(member, key, wanted, held);
      },
      onGone: (member) => this.#limits.memberWent(member),
    });
    const { metrics, events } = engine;
    this.guard = new Guard({
      now: context.monotonicMs,
      wallMs: context.now,
      metrics,
      events,
      readiness: (target) => this.#readinessOf(target, undefined),
      choosable: (target) =>
        (target.version === undefined ? undefined : this.#readinessOf(target, target.version)) ??
        this.#readinessOf(target, undefined),
      sharedLimiter: (limit) => this.#limits.limiter(limit),
    });
    engine.tables.subscribe(() => {
      this.changed();
      this.#limits.rulesChanged();
    });
  }

  /** A tunnel request that asks for a control channel. */
  accept(request: TunnelRequest): void {
    this.#server.accept(request);
  }

  /** What is known of readiness has changed. */
  changed(): void {
    this.guard.readinessChanged();
    this.#server.changed();
  }

  /** Hears of another cluster's services; answers how to stop. */
  followCluster(trustDomain: string, upstream: Upstream): () => void {
    return this.#follow(upstream, (address, services) =>
      this.#heard(`${trustDomain} ${address}`, services, `${trustDomain} `),
    );
  }

  /** Hears from the gateways of our own cluster, and shares limits with them. */
  followOwn(upstream: Upstream): () => void {
    const names = new Map<string, string>();
    /** Also of those that are gone: whose address it was. */
    const last = new Map<string, string>();
    const came = (address: string, name: string, links: ControlLinks) => {
      names.set(address, name);
      last.set(address, name);
      if (name === this.#self) return;
      this.#leaders.set(name, (message) => links.send(address, message));
      this.#limits.leaderCame(name);
    };
    const unsubscribe = upstream.onReady(() => {
      for (const address of upstream.refusedAddresses(REFUSED_MS)) {
        const name = last.get(address);
        if (name !== undefined && !this.#leaders.has(name)) this.#limits.leaderDied(name);
      }
    });
    this.#closers.add(unsubscribe);
    return this.#follow(
      upstream,
      (address, services) => {
        if (this.#options.role === "agent") this.#heard(address, services, "");
      },
      (address, { hello, grant, poll }, links) => {
        if (hello !== undefined) came(address, hello, links);
        const name = names.get(address);
        if (poll !== undefined && name !== undefined) this.#limits.polled(name, ...poll);
        for (const [key, tokens] of Object.entries(grant ?? {})) this.#limits.granted(key, tokens);
      },
      (address) => {
        const name = names.get(address);
        names.delete(address);
        if (name === undefined || [...names.values()].includes(name)) return;
        this.#leaders.delete(name);
        this.#limits.leaderWent(name);
      },
    );
  }

  /** This process ends: before its listener does, since whoever is refused there takes it for dead. */
  retire(): void {
    this.#limits.retire();
  }

  close(): void {
    for (const close of [...this.#closers]) close();
    this.#server.close();
    this.#limits.close();
  }

  #readinessOf(target: EntryForward, version: string | undefined): Readiness | undefined {
    // By the owner's name of the service: a workload may call it by an alias.
    const named = { ...target, service: parseServiceAuthority(target.authority) ?? target.service };
    const key = readinessKey(target);
    return (
      this.#options.observe(named, version) ??
      this.#readiness.get(version === undefined ? key : versionKey(key, version))
    );
  }

  readonly #said = new Map<string, Map<string, Readiness>>();

  #heard(source: string, services: ControlMessage["services"], prefix: string): void {
    if (services === undefined) return;
    const said = this.#said.get(source) ?? new Map<string, Readiness>();
    this.#said.set(source, said);
    for (const [key, value] of Object.entries(services)) {
      if (value === null) said.delete(prefix + key);
      else said.set(prefix + key, { ready: value[0], total: value[1] });
    }
    this.#readiness.replace(source, said);
  }

  #follow(
    upstream: Upstream,
    onServices: (address: string, services: ControlMessage["services"]) => void,
    onMessage: (address: string, message: ControlMessage, links: ControlLinks) => void = () => {},
    onGone: (address: string) => void = () => {},
  ): () => void {
    const sources = new Set<string>();
    const links: ControlLinks = new ControlLinks(upstream, this.#self, {
      onMessage: (address, message) => {
        sources.add(address);
        onServices(address, message.services);
        onMessage(address, message, links);
      },
      onGone: (address) => {
        for (const source of [...this.#said.keys()]) {
          if (source !== address && !source.endsWith(` ${address}`)) continue;
          this.#said.delete(source);
          this.#readiness.replace(source, undefined);
        }
        onGone(address);
      },
    });
    const close = () => {
      this.#closers.delete(close);
      links.close();
    };
    this.#closers.add(close);
    return close;
  }

  /** Own agents and gateways hear of what is imported; other clusters' gateways of what is exported to them, and nothing else. */
  #servicesFor(peer: Peer): ReadonlyMap<string, Readiness> {
    const tables = this.#engine.tables.current;
    const found = new Map<string, Readiness>();
    if (tables === undefined) return found;
    const { trustDomain } = peer.spiffeId;
    if (trustDomain === tables.trustDomain) {
      for (const { sources } of tables.imports.values()) {
        for (const { rule, ports, host, local } of sources) {
          for (const port of ports.keys()) {
            const target = { local, service: rule.from, port, destination: rule.from.trustDomain };
            const key = readinessKey({ destination: target.destination, authority: `${host}:${port}` });
            const known = this.#options.observe(target) ?? this.#readiness.get(key);
            if (known !== undefined) found.set(key, known);
            for (const version of rule.versions ?? []) {
              const own = versionKey(key, version);
              const part = this.#options.observe(target, version) ?? this.#readiness.get(own);
              if (part !== undefined) found.set(own, part);
            }
          }
        }
      }
      return found;
    }
    for (const { rule, ports } of tables.exports.values()) {
      if (!rule.consumers.some((consumer) => consumer.trustDomain === trustDomain)) continue;
      for (const port of ports.keys()) {
        const target = { local: true, service: rule, port, destination: tables.trustDomain };
        const known = this.#options.observe(target);
        if (known === undefined) continue;
        const key = `${clustersetHost(rule)}:${port}`;
        found.set(key, known);
        for (const version of this.#options.versions?.(target) ?? []) {
          const part = this.#options.observe(target, version);
          if (part !== undefined) found.set(versionKey(key, version), part);
        }
      }
    }
    return found;
  }

  #createLimits(): SharedLimits {
    const { role, owners: upstreamOf } = this.#options;
    const { workers } = this.#context.config;
    const { topology } = this.#context.discovery.services;
    return new SharedLimits({
      self: this.#self,
      leads: role === "gateway",
      monotonicMs: this.#context.monotonicMs,
      owners: () => (topology.current.agents.length || topology.current.gateways.length || 1) * workers,
      owns: () => role === "agent" || topology.current.agents.length === 0,
      // A lone gateway, also one of several workers, is the only one that leads its own limits.
      lends: () => role === "agent" || topology.current.gateways.length > 1,
      dead: () => (upstreamOf?.().refusedAddresses(REFUSED_MS).length ?? 0) * workers,
      isActive: () => {
        for (const { limits } of this.#engine.tables.current?.rules.values() ?? [])
          if (limits.some(({ shared }) => shared)) return true;
        return false;
      },
      rateOf: (key) => {
        for (const { limits } of this.#engine.tables.current?.rules.values() ?? [])
          for (const limit of limits) if (limit.key === key) return limit.rate;
        return undefined;
      },
      ask: (leader, key, wanted, held) => this.#leaders.get(leader)?.({ ask: { [key]: [wanted, held] } }),
      lend: (leader, lend) => this.#leaders.get(leader)?.({ lend }),
      grant: (member, key, tokens) => this.#server.send(member, { grant: { [key]: tokens } }),
      poll: (member, at, read) => this.#server.send(member, { poll: [at, read] }),
    });
  }
}

/** `cart.shop:80`: how the balancer of endpoints calls a service port. */
export function servicePortKey({ service, port }: Pick<EntryForward, "service" | "port">): string {
  return `${serviceKey(service)}:${port}`;
}
