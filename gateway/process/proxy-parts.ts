import type { Socket } from "node:net";
import type { TunnelStatus } from "../../federation/model/resource.ts";
import type { SpiffeId } from "../../federation/model/spiffe-id.ts";
import {
  type AllocateAddresses,
  createEngine,
  type Engine,
  type EntryEnvironment,
  ListenerSet,
  PodListeners,
  type TunnelRequest,
  TunnelServer,
  type Way,
  WayListeners,
} from "../dataplane/index.ts";
import type { MemberContext } from "./member.ts";

/** The parts that a gateway and an agent make in the same way, from what their process learned. */
export function createMemberEngine(context: MemberContext): Engine {
  const { discovery } = context;
  const engine = createEngine({
    ...context,
    snapshot: discovery.snapshot,
    joinedBundles: discovery.state.current.bundles,
    credential: discovery.credentials.credential,
  });
  const { metrics, tables } = engine;
  metrics.beforeCollect(() => {
    metrics.revision.series({}).value = tables.current?.revision ?? 0;
    metrics.registryConnected.series({}).value = discovery.status.current.connected ? 1 : 0;
  });
  return engine;
}

/** Counts the tunnels of the moment, when somebody looks. */
export function countTunnels({ metrics }: Engine, tunnels: () => readonly TunnelStatus[]): void {
  metrics.beforeCollect(() => {
    metrics.tunnels.clear();
    for (const { cluster, state } of tunnels()) metrics.tunnels.series({ cluster, state }).value += 1;
    // A cluster without any tunnel that is up must be there to be seen.
    for (const { cluster } of tunnels()) metrics.tunnels.series({ cluster, state: "up" });
  });
}

export function createTunnelServer(
  context: MemberContext,
  engine: Engine,
  onRequest: (request: TunnelRequest) => void,
): TunnelServer {
  const { tunnels, events, metrics } = engine;
  return new TunnelServer({ env: tunnels, events, metrics, claims: context.claims, onRequest });
}

/** The workloads' own ways out of the federation; `accept` is the gate of this process, or a tunnel to the gateway's. */
export function createWays(
  context: MemberContext,
  engine: Engine,
  accept: (socket: Socket, caller: SpiffeId, way: Way) => void,
): WayListeners {
  const { discovery, claims, log, onChange } = context;
  const allocate: AllocateAddresses = (keys) => discovery.addresses.allocate(keys);
  return new WayListeners({ tables: engine.tables, accept, allocate, claims, log, onChange });
}

/** Ways to services: `upstreamFor` leads towards a trust domain, `openLocal` into the own cluster; `guard` says which of them is well. */
export type InwardWays = Pick<EntryEnvironment, "upstreamFor" | "openLocal" | "guard" | "forOthers">;

/** Where workloads enter the mesh. */
export function createListeners(context: MemberContext, engine: Engine, ways: InwardWays): ListenerSet {
  const { discovery, log, onChange } = context;
  const entries = entryEnvironment(context, engine, ways);
  return new ListenerSet(entries, (keys) => discovery.addresses.allocate(keys), log, onChange);
}

/** Entries that pods share, where the source of services knows pods by their addresses; on `host`, once it is known. */
export function createPodListeners(
  context: MemberContext,
  engine: Engine,
  ways: InwardWays,
): { open(host: string): Promise<void>; drain(): Promise<void>; close(): void } | undefined {
  const { pods } = context.discovery.services;
  if (pods === undefined) return undefined;
  let listeners: PodListeners | undefined;
  return {
    async open(host) {
      const env = entryEnvironment(context, engine, ways);
      const made = new PodListeners({
        env,
        host,
        callerOf: pods.callerOf,
        hasIdentity: (caller) => context.discovery.credentials.has(caller),
        log: context.log,
      });
      listeners = made;
      pods.ports.subscribe((ports) => void made.set(ports));
      await made.set(pods.ports.current);
    },
    drain: async () => listeners?.drain(),
    close: () => listeners?.close(),
  };
}

function entryEnvironment(context: MemberContext, engine: Engine, ways: InwardWays): EntryEnvironment {
  const { discovery, claims, monotonicMs, random, tracing, accessLog } = context;
  const { tables, metrics, events, budgets, flows } = engine;
  const callerToken: EntryEnvironment["callerToken"] = (caller, audience) =>
    discovery.credentials.callerToken(caller, audience);
  // A clock that is set must end no request, and keep no endpoint away for longer.
  const shell = { claims, now: monotonicMs, monotonicMs, random, tracing, accessLog, budgets, flows };
  return { tables, ...ways, callerToken, metrics, events, ...shell };
}
