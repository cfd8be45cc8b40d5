import { problem } from "../../federation/model/problem.ts";
import {
  parseServiceAuthority,
  serviceAuthority,
  serviceKey,
  type ServiceName,
} from "../../federation/model/service.ts";
import {
  type DialledEndpoint,
  type EndpointBalancer,
  type EndpointWish,
  type EntryForward,
  forwardToEndpoint,
  forwardToUpstream,
  type IngressRule,
  type LastHop,
  LocalStream,
  type OpenedStream,
  type PickedEndpoint,
  refuseTunnel,
  type RequestFields,
  TUNNEL_HEADER,
  type TunnelRequest,
} from "../dataplane/index.ts";
import type { NodeAgents } from "./node-agents.ts";

// How many other endpoints are tried when one does not accept: with more gone than that, the next request knows better.
const MAX_OTHERS = 2;

/** A service of this cluster that somebody was permitted to reach. */
export interface Delivered {
  readonly service: ServiceName;
  readonly port: number;
  readonly wish: EndpointWish;
  /** The caller's token, for the agent to judge once more. */
  readonly token: string;
  /** Fields for the agent, where the stream is traced. */
  readonly trace: RequestFields | undefined;
  readonly hop: LastHop;
}

/** The last stretch at a gateway: one endpoint is picked, and reached through the agent beside it where there are agents. */
export class Delivery {
  readonly #endpoints: EndpointBalancer;
  readonly #agents: NodeAgents;

  constructor(endpoints: EndpointBalancer, agents: NodeAgents) {
    this.#endpoints = endpoints;
    this.#agents = agents;
  }

  forward(stream: TunnelRequest["stream"], wanted: Delivered): void {
    const { service, port, wish, token, trace, hop } = wanted;
    const key = `${serviceKey(service)}:${port}`;
    const endpoint = this.#endpoints.pick(key, wish);
    if (endpoint === undefined) {
      const what = wish.version === undefined ? "" : ` of version ${wish.version}`;
      const detail = `${serviceKey(service)}:${port} has no endpoint${what} here`;
      return refuseTunnel(stream, problem("no_endpoint", detail));
    }
    const { upstream } = this.#agents;
    if (!upstream.hasAddresses)
      return forwardToEndpoint(stream, this.#dialled(key, wish, endpoint, MAX_OTHERS), hop);
    stream.once("close", endpoint.release);
    const headers = {
      ":method": "CONNECT",
      ":authority": endpoint.address,
      [TUNNEL_HEADER.service]: serviceAuthority(service, port),
      [TUNNEL_HEADER.caller]: token,
      ...trace,
    };
    forwardToUpstream(stream, upstream, headers, hop.counters, {
      address: this.#agents.beside(endpoint.node),
      endpoint: endpoint.name,
      onRefused: ({ name }) => {
        if (name === "endpoint_unreachable") endpoint.failed();
      },
    });
  }

  /** An endpoint to dial, and what to dial when it does not accept. */
  #dialled(key: string, wish: EndpointWish, endpoint: PickedEndpoint, others: number): DialledEndpoint {
    return {
      ...endpoint,
      failed: () => {
        endpoint.failed();
        const other = others === 0 ? undefined : this.#endpoints.pick(key, wish);
        if (other === undefined || other.address !== endpoint.address)
          return other && this.#dialled(key, wish, other, others - 1);
        other.release();
        return undefined;
      },
    };
  }

  /** For callers from outside: straight to an endpoint, also where there are agents, since no workload is calling. */
  openFromOutside({ service, port }: IngressRule): OpenedStream | undefined {
    const wish = { version: undefined, endpoint: undefined, avoid: undefined };
    const endpoint = this.#endpoints.pick(`${serviceKey(service)}:${port}`, wish);
    if (endpoint === undefined) return undefined;
    const stream = new LocalStream(endpoint.address, endpoint.name, endpoint.failed);
    stream.once("close", endpoint.release);
    return stream;
  }

  /** For workloads that enter here: a connection of our own to an endpoint, `undefined` where there is none. */
  open(target: EntryForward, avoid?: string): OpenedStream | undefined {
    const { authority, version, endpoint: wished } = target;
    // By the owner's name of the service: the workload may call it by an alias.
    const service = parseServiceAuthority(authority);
    if (service === undefined) return undefined;
    const wish = { version, endpoint: wished, avoid };
    const endpoint = this.#endpoints.pick(`${serviceKey(service)}:${service.port}`, wish);
    if (endpoint === undefined) return undefined;
    const stream = new LocalStream(endpoint.address, endpoint.name, endpoint.failed);
    stream.once("close", endpoint.release);
    return stream;
  }
}

/** Which endpoint a tunnel request asks for. */
export function askedEndpoint({ headers }: TunnelRequest): EndpointWish {
  const text = (name: string): string | undefined => {
    const value = headers[name];
    return typeof value === "string" ? value : undefined;
  };
  return {
    version: text(TUNNEL_HEADER.version),
    endpoint: text(TUNNEL_HEADER.endpoint),
    avoid: text(TUNNEL_HEADER.avoid),
  };
}

/** The same question, for the next hop. */
export function endpointFields({ version, endpoint, avoid }: EndpointWish): RequestFields {
  return {
    ...(version === undefined ? undefined : { [TUNNEL_HEADER.version]: version }),
    ...(endpoint === undefined ? undefined : { [TUNNEL_HEADER.endpoint]: endpoint }),
    ...(avoid === undefined ? undefined : { [TUNNEL_HEADER.avoid]: avoid }),
  };
}
