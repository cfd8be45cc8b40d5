import {
  createEngine,
  type Engine,
  type EntryEnvironment,
  ListenerSet,
  type TunnelRequest,
  TunnelServer,
} from "../dataplane/index.ts";
import type { MemberContext } from "./member.ts";

/** The parts that a gateway and an agent make in the same way, from what their process learned. */
export function createMemberEngine(context: MemberContext): Engine {
  const { discovery } = context;
  return createEngine({
    ...context,
    snapshot: discovery.snapshot,
    joinedBundles: discovery.state.current.bundles,
    credential: discovery.credentials.credential,
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

/** The ways out that a gateway and an agent have: `upstreamFor` towards a trust domain, `openLocal` into the own cluster. */
export function createListeners(
  context: MemberContext,
  engine: Engine,
  ways: Pick<EntryEnvironment, "upstreamFor" | "openLocal">,
): ListenerSet {
  const { discovery, claims, now, monotonicMs, random, log, onChange, tracing, accessLog } = context;
  const { tables, metrics, events } = engine;
  const callerToken: EntryEnvironment["callerToken"] = (caller, audience) =>
    discovery.credentials.callerToken(caller, audience);
  const shell = { claims, now, monotonicMs, random, tracing, accessLog };
  const entries = { tables, ...ways, callerToken, metrics, events, ...shell };
  return new ListenerSet(entries, (keys) => discovery.addresses.allocate(keys), log, onChange);
}
