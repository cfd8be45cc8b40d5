import type { Address } from "../../federation/model/address.ts";
import { systemSpiffeId } from "../../federation/model/spiffe-id.ts";
import {
  createEngine,
  EndpointBalancer,
  type EntryEnvironment,
  ListenerSet,
  probeListener,
  TunnelAccess,
  TunnelServer,
  Upstream,
} from "../../gateway/dataplane/index.ts";
import type { MemberContext } from "../../gateway/process/member.ts";
import type { Proxy } from "../../gateway/process/proxy.ts";
import { endpointsByService, workloadIds } from "../../gateway/process/static-workloads.ts";
import { createInbound } from "./inbound.ts";

/** Assembles an agent: the gateway's engine from the workload's side. */
export function buildAgent(context: MemberContext): Proxy {
  const { discovery, onChange } = context;
  const { trustDomain, cluster } = discovery.state.current;
  const engine = createEngine({
    ...context,
    snapshot: discovery.snapshot,
    joinedBundles: discovery.state.current.bundles,
    credential: discovery.credentials.credential,
  });
  const endpoints = new EndpointBalancer(context.random);
  // Whatever its destination, a workload's traffic leaves by the cluster's own gateways.
  const gateways = new Upstream(cluster, { trustDomain, role: "gateway" }, engine.tunnels, onChange);
  const server = new TunnelServer({
    env: engine.tunnels,
    events: engine.events,
    metrics: engine.metrics,
    claims: context.claims,
    onRequest: createInbound(new TunnelAccess(engine), endpoints, trustDomain),
  });
  const entries: EntryEnvironment = {
    tables: engine.tables,
    upstreamFor: () => gateways,
    callerToken: (caller, audience) => discovery.credentials.callerToken(caller, audience),
    metrics: engine.metrics,
    events: engine.events,
    claims: context.claims,
    now: context.now,
  };
  const listeners = new ListenerSet(
    entries,
    (keys) => discovery.addresses.allocate(keys),
    context.log,
    onChange,
  );

  const followServices = (): Promise<void> => {
    const services = discovery.services.current;
    endpoints.replace(endpointsByService(services));
    gateways.setAddresses(services?.spec.gateways ?? []);
    return listeners.setWorkloads(workloadIds(services, trustDomain));
  };

  return {
    async start(listen: Address) {
      discovery.services.subscribe(() => void followServices());
      const bound = await server.listen(listen);
      await followServices();
      return bound;
    },
    unready: () => {
      if (engine.tables.current === undefined) return "waiting for the first snapshot";
      return gateways.hasReadyTunnel ? undefined : "no tunnel to a gateway of this cluster";
    },
    metrics: () => engine.metrics.render(),
    status: () => ({
      identity: systemSpiffeId(trustDomain, "agent").uri,
      revision: engine.tables.current?.revision ?? null,
      tunnels: gateways.status(),
      listeners: listeners.status(),
      streams: engine.grants.size,
    }),
    listeners: () => listeners.status(),
    tunnels: () => gateways.status(),
    probe: (request) => probeListener(listeners, request, context.monotonicMs),
    async drain() {
      await Promise.all([server.drain(), listeners.drain()]);
    },
    close() {
      server.close();
      listeners.close();
      gateways.close();
    },
  };
}
