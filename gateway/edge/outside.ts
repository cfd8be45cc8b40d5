import { formatAddress } from "../../federation/model/address.ts";
import { type Engine, type ExternalGate, OutsideListener, SecuredProxy } from "../dataplane/index.ts";
import type { MemberContext } from "../process/member.ts";
import type { Delivery } from "./delivery.ts";

/** HTTPS for callers from outside, where the gateway was told to listen for them. */
export interface OutsideEntrance {
  /** `0.0.0.0:443`, once it listens. */
  readonly address: string | undefined;
  open(): Promise<void>;
  drain(): Promise<void>;
  close(): void;
}

export function createOutside(
  context: MemberContext,
  engine: Engine,
  delivery: Delivery,
): OutsideEntrance | undefined {
  const { outside, claims, log, monotonicMs: now } = context;
  const { listen, secrets } = outside;
  if (listen === undefined) return undefined;
  const { tables, metrics, events } = engine;
  const open = delivery.openFromOutside.bind(delivery);
  const listener = new OutsideListener({ tables, secrets, open, claims, metrics, events, log, now });
  let address: string | undefined;
  return {
    get address() {
      return address;
    },
    async open() {
      address = formatAddress(await listener.listen(listen));
    },
    drain: () => listener.drain(),
    close: () => listener.close(),
  };
}

/** The HTTP proxy for workloads that hold their own SVID, where the gateway was told to listen for them. */
export function createSecuredProxy(
  context: MemberContext,
  engine: Engine,
  gate: ExternalGate,
): OutsideEntrance | undefined {
  const { proxyListen } = context.outside;
  if (proxyListen === undefined) return undefined;
  const { tunnels: env, events, metrics } = engine;
  const proxy = new SecuredProxy({
    env,
    events,
    metrics,
    claims: context.claims,
    accept: (socket, caller, way) => gate.accept(socket, caller, way),
  });
  let address: string | undefined;
  return {
    get address() {
      return address;
    },
    async open() {
      address = formatAddress(await proxy.listen(proxyListen));
    },
    drain: () => Promise.resolve(proxy.drain()),
    close: () => proxy.close(),
  };
}
