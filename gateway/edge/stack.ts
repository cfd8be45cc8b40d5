import type { Address } from "../../federation/model/address.ts";
import { parseSpiffeId, systemSpiffeId } from "../../federation/model/spiffe-id.ts";
import {
  EndpointBalancer,
  type Engine,
  EXTERNAL,
  ExternalGate,
  probeListener,
  selectTunnel,
  TUNNEL_HEADER,
  TunnelAccess,
  type TunnelRequest,
  Upstream,
} from "../dataplane/index.ts";
import type { MemberContext } from "../process/member.ts";
import type { Proxy } from "../process/proxy.ts";
import {
  countTunnels,
  createListeners,
  createMemberEngine,
  createPodListeners,
  createTunnelServer,
  createWays,
  type InwardWays,
} from "../process/proxy-parts.ts";
import { AWAY, Control, servicePortKey } from "../process/control.ts";
import { Delivery } from "./delivery.ts";
import { createEgress } from "./egress.ts";
import { EndpointProber } from "./endpoint-prober.ts";
import { createExternal } from "./external.ts";
import { createIngress } from "./ingress.ts";
import { NodeAgents } from "./node-agents.ts";
import { createOutside, createSecuredProxy } from "./outside.ts";
import { PeerGateways } from "./peer-gateways.ts";

/** Assembles a gateway, one line per step; the reasons stand where a step would surprise. */
export function buildGateway(context: MemberContext): Proxy {
  const { discovery, onChange } = context;
  const { trustDomain, cluster } = discovery.state.current;
  const engine = createMemberEngine(context);
  const access = new TunnelAccess(engine);
  const endpoints = new EndpointBalancer(context.random, () => control.changed());
  const peers = new PeerGateways(
    engine.tunnels,
    () => (control.changed(), onChange()),
    (domain, upstream) => control.followCluster(domain, upstream),
  );
  const agents = new Upstream(cluster, { trustDomain, role: "agent" }, engine.tunnels, onChange);
  const nodeAgents = new NodeAgents(agents, endpoints);
  // Only gateways that serve workloads themselves share limits among each other.
  const siblings = new Upstream(cluster, { trustDomain, role: "gateway" }, engine.tunnels, () => {});
  const control = new Control(context, engine, {
    role: "gateway",
    versions: (target) => endpoints.versions(servicePortKey(target)),
    owners: () => (discovery.services.topology.current.agents.length > 0 ? agents : siblings),
    observe: (target, version) => {
      if (target.local) return endpoints.readiness(servicePortKey(target), version);
      return peers.get(target.destination)?.hasReadyTunnel === true ? undefined : AWAY;
    },
  });
  control.followOwn(siblings);
  const prober = new EndpointProber(endpoints, nodeAgents);
  const delivery = new Delivery(endpoints, nodeAgents);
  const ingress = createIngress(access, delivery);
  const egress = createEgress(engine, access, peers, delivery);
  const gate = createGate(context, engine);
  const external = createExternal(engine, access, gate);
  const accept = (request: TunnelRequest): void => {
    if (request.headers[TUNNEL_HEADER.control] !== undefined) control.accept(request);
    else if (request.headers[TUNNEL_HEADER.destination] === EXTERNAL) external(request);
    else dispatch(request, engine, access, ingress, egress);
  };
  const server = createTunnelServer(context, engine, accept);
  const inward: InwardWays = {
    guard: control.guard,
    upstreamFor: (destination) => peers.get(destination),
    openLocal: (target, avoid) => delivery.open(target, avoid),
  };
  const listeners = createListeners(context, engine, inward);
  // Whose own endpoints stand beside the gateways in one Service, which divides calls among them.
  const pods = createPodListeners(context, engine, { ...inward, forOthers: true });
  const outside = createOutside(context, engine, delivery);
  const securedProxy = createSecuredProxy(context, engine, gate);
  const ways = createWays(context, engine, (socket, caller, way) => gate.accept(socket, caller, way));

  const followServices = (): Promise<unknown> => {
    const topology = discovery.services.topology.current;
    nodeAgents.follow(topology.agents);
    siblings.setAddresses(
      topology.agents.length === 0 && topology.gateways.length > 1 ? topology.gateways : [],
    );
    // Where agents run, workloads enter there; only without them does the gateway listen for workloads itself.
    const served = topology.agents.length === 0 ? topology.workloads : [];
    return Promise.all([listeners.setWorkloads(served), ways.setWorkloads(served)]);
  };
  const followSnapshot = (): void => {
    if (discovery.snapshot.current !== undefined) peers.follow(discovery.snapshot.current);
  };

  return {
    async start(listen: Address) {
      countTunnels(engine, () => [...peers.status(), ...agents.status()]);
      discovery.snapshot.subscribe(followSnapshot);
      discovery.services.followEndpoints((port, addresses) => endpoints.set(port, addresses));
      discovery.services.topology.subscribe(() => void followServices());
      followSnapshot();
      const bound = await server.listen(listen);
      await followServices();
      await pods?.open(listen.host);
      await outside?.open();
      await securedProxy?.open();
      return bound;
    },
    unready: () => (engine.tables.current === undefined ? "waiting for the first snapshot" : undefined),
    metrics: () => engine.metrics.render(),
    families: () => engine.metrics.families,
    status: () => ({
      identity: systemSpiffeId(trustDomain, "gateway").uri,
      revision: engine.tables.current?.revision ?? null,
      tunnels: [...peers.status(), ...agents.status()],
      listeners: [...listeners.status(), ...ways.status()],
      streams: engine.grants.size,
      outside: outside?.address,
      securedProxy: securedProxy?.address,
      issued: discovery.credentials.identity?.(),
    }),
    listeners: () => [...listeners.status(), ...ways.status()],
    listenerFailures: () => listeners.failures(),
    tunnels: () => [...peers.status(), ...agents.status()],
    outside: () => outside?.address,
    securedProxy: () => securedProxy?.address,
    canaries: () => control.guard.canaries(engine.tables.current?.rules),
    probe: (request) => probeListener(listeners, request, context.monotonicMs),
    egress: {
      test: ({ workload, ...question }) => {
        const caller = parseSpiffeId(`spiffe://${trustDomain}/${workload}`);
        return new Promise((resolve) => {
          if (caller.ok) gate.answer({ ...question, caller: caller.value }, resolve);
          else
            resolve({
              verdict: "unknown",
              workload,
              destination: question.destination,
              detail: caller.error,
            });
        });
      },
      flows: () => gate.flows.list(),
    },
    async drain() {
      control.retire();
      ways.drain();
      void securedProxy?.drain();
      await Promise.all([server.drain(), listeners.drain(), pods?.drain(), gate.drain(), outside?.drain()]);
    },
    close() {
      server.close();
      listeners.close();
      pods?.close();
      ways.close();
      gate.close();
      outside?.close();
      securedProxy?.close();
      prober.close();
      control.close();
      peers.close();
      nodeAgents.close();
      siblings.close();
    },
  };
}

function createGate(context: MemberContext, engine: Engine): ExternalGate {
  const { outside, log, monotonicMs } = context;
  const { tables, grants, metrics, events, flows } = engine;
  const { secrets, resolver, guarded } = outside;
  return new ExternalGate({
    tables,
    secrets,
    resolver,
    guarded: () => guarded,
    grants,
    flows,
    metrics,
    events,
    log,
    now: monotonicMs,
  });
}

function dispatch(
  request: TunnelRequest,
  engine: Engine,
  access: TunnelAccess,
  ingress: ReturnType<typeof createIngress>,
  egress: ReturnType<typeof createEgress>,
): void {
  const { headers, peer } = request;
  const destination = headers["isthmus-destination"];
  const target = selectTunnel(engine.tables.current, {
    peer: peer.spiffeId,
    authority: headers[":authority"] ?? "",
    destination: typeof destination === "string" ? destination : undefined,
  });
  if (target.kind === "refuse") return access.refuse(request, {}, target.problem);
  return target.kind === "ingress" ? ingress(request, target) : egress(request, target);
}
