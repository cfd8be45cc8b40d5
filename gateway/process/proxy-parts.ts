import {
  createEngine,
  type Engine,
  type EntryEnvironment,
  ListenerSet,
  type TunnelRequest,
  TunnelServer,
  type Upstream,
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

/** `upstreamFor`: the way towards a trust domain. */
export function createListeners(
  context: MemberContext,
  engine: Engine,
  upstreamFor: (destination: string) => Upstream | undefined,
): ListenerSet {
  const { discovery, claims, now, log, onChange } = context;
  const { tables, metrics, events } = engine;
  const callerToken: EntryEnvironment["callerToken"] = (caller, audience) =>
    discovery.credentials.callerToken(caller, audience);
  const entries = { tables, upstreamFor, callerToken, metrics, events, claims, now };
  return new ListenerSet(entries, (keys) => discovery.addresses.allocate(keys), log, onChange);
}
