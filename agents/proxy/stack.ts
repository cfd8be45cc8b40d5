import type { Address } from "../../federation/model/address.ts";
import { systemSpiffeId } from "../../federation/model/spiffe-id.ts";
import {
  createExternalTunnel,
  EndpointBalancer,
  externalCounters,
  probeListener,
  TunnelAccess,
  Upstream,
} from "../../gateway/dataplane/index.ts";
import { Control } from "../../gateway/process/control.ts";
import type { MemberContext } from "../../gateway/process/member.ts";
import type { Proxy } from "../../gateway/process/proxy.ts";
import {
  countTunnels,
  createListeners,
  createMemberEngine,
  createPodListeners,
  createTunnelServer,
  createWays,
} from "../../gateway/process/proxy-parts.ts";
import type { Capture } from "../capture/capture.ts";
import { createInbound } from "./inbound.ts";
import { createMesh, type MeshServices } from "./mesh.ts";

/** Assembles an agent: the gateway's engine from the workload's side. */
export function buildAgent(context: MemberContext, capture?: Capture, services?: MeshServices): Proxy {
  const { discovery, onChange } = context;
  const { trustDomain, cluster } = discovery.state.current;
  const engine = createMemberEngine(context);
  const endpoints = new EndpointBalancer(context.random);
  // Whatever its destination, a workload's traffic leaves by the cluster's own gateways.
  const gateways = new Upstream(cluster, { trustDomain, role: "gateway" }, engine.tunnels, onChange);
  const inbound = createInbound(new TunnelAccess(engine), endpoints, trustDomain, services);
  // The cluster's own services, where their namespaces want mutual TLS: agent to agent, without a gateway.
  const mesh = services && createMesh(context, engine, services);
  const server = createTunnelServer(context, engine, inbound);
  // Its gateways know what it may reach.
  const control = new Control(context, engine, { role: "agent", observe: () => undefined });
  control.followOwn(gateways);
  const towards = { upstreamFor: () => gateways, guard: control.guard };
  const listeners = createListeners(context, engine, towards);
  const pods = createPodListeners(context, engine, towards);
  const leave = createExternalTunnel({
    gateways,
    trustDomain,
    callerToken: (caller, audience) => discovery.credentials.callerToken(caller, audience),
    counters: externalCounters(engine.metrics),
    log: context.log,
  });
  const ways = createWays(context, engine, leave);

  const followServices = (): Promise<unknown> => {
    const topology = discovery.services.topology.current;
    gateways.setAddresses(topology.gateways);
    const { workloads } = topology;
    return Promise.all([listeners.setWorkloads(workloads), ways.setWorkloads(workloads)]);
  };

  return {
    async start(listen: Address) {
      countTunnels(engine, () => gateways.status());
      discovery.services.followEndpoints((port, addresses) => endpoints.set(port, addresses));
      discovery.services.topology.subscribe(() => void followServices());
      const bound = await server.listen(listen);
      await followServices();
      await pods?.open(listen.host);
      await mesh?.open(listen.host);
      // Last: what is captured must find somebody listening.
      await capture?.start();
      return bound;
    },
    unready: () => {
      if (engine.tables.current === undefined) return "waiting for the first snapshot";
      return gateways.hasReadyTunnel ? undefined : "no tunnel to a gateway of this cluster";
    },
    metrics: () => engine.metrics.render(),
    families: () => engine.metrics.families,
    status: () => ({
      identity: systemSpiffeId(trustDomain, "agent").uri,
      issued: discovery.credentials.identity?.(),
      revision: engine.tables.current?.revision ?? null,
      tunnels: gateways.status(),
      listeners: [...listeners.status(), ...ways.status()],
      streams: engine.grants.size,
    }),
    listeners: () => [...listeners.status(), ...ways.status()],
    listenerFailures: () => listeners.failures(),
    tunnels: () => gateways.status(),
    canaries: () => control.guard.canaries(engine.tables.current?.rules),
    probe: (request) => probeListener(listeners, request, context.monotonicMs),
    async drain() {
      control.retire();
      await capture?.stop();
      ways.drain();
      await Promise.all([server.drain(), listeners.drain(), pods?.drain(), mesh?.drain()]);
    },
    close() {
      server.close();
      listeners.close();
      pods?.close();
      mesh?.close();
      ways.close();
      control.close();
      gateways.close();
    },
    withdraw: async () => capture?.stop(),
  };
}
