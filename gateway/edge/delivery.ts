import { problem } from "../../federation/model/problem.ts";
import { serviceAuthority, serviceKey, type ServiceName } from "../../federation/model/service.ts";
import {
  type EndpointBalancer,
  type EntryForward,
  forwardToEndpoint,
  forwardToUpstream,
  LocalStream,
  type OpenedStream,
  type RelayCounters,
  refuseTunnel,
  type RequestFields,
  TUNNEL_HEADER,
  type TunnelRequest,
  type Upstream,
} from "../dataplane/index.ts";

/** A service of this cluster that somebody was permitted to reach. */
export interface Delivered {
  readonly service: ServiceName;
  readonly port: number;
  /** Only endpoints of this version will do. */
  readonly version: string | undefined;
  /** The caller's token, for the agent to judge once more. */
  readonly token: string;
  /** Fields for the agent, where the stream is traced. */
  readonly trace: RequestFields | undefined;
}

/** The last stretch at a gateway: one endpoint is picked, and reached through the agent beside it where there are agents. */
export class Delivery {
  readonly #endpoints: EndpointBalancer;
  readonly #agents: Upstream;

  constructor(endpoints: EndpointBalancer, agents: Upstream) {
    this.#endpoints = endpoints;
    this.#agents = agents;
  }

  forward(stream: TunnelRequest["stream"], wanted: Delivered, counters: RelayCounters): void {
    const { service, port, version, token, trace } = wanted;
    const endpoint = this.#endpoints.pick(`${serviceKey(service)}:${port}`, version);
    if (endpoint === undefined) {
      const what = version === undefined ? "" : ` of version ${version}`;
      const detail = `${serviceKey(service)}:${port} has no endpoint${what} here`;
      return refuseTunnel(stream, problem("no_endpoint", detail));
    }
    if (!this.#agents.hasAddresses)
      return forwardToEndpoint(stream, endpoint.address, counters, endpoint.release);
    stream.once("close", endpoint.release);
    const headers = {
      ":method": "CONNECT",
      ":authority": endpoint.address,
      [TUNNEL_HEADER.service]: serviceAuthority(service, port),
      [TUNNEL_HEADER.caller]: token,
      ...trace,
    };
    forwardToUpstream(stream, this.#agents, headers, counters);
  }

  /** For workloads that enter here: a connection of our own to an endpoint, `undefined` where there is none. */
  open({ service, port, version }: EntryForward): OpenedStream | undefined {
    const endpoint = this.#endpoints.pick(`${serviceKey(service)}:${port}`, version);
    if (endpoint === undefined) return undefined;
    const stream = new LocalStream(endpoint.address);
    stream.once("close", endpoint.release);
    return stream;
  }
}

/** The version that a tunnel request asks for. */
export function askedVersion({ headers }: TunnelRequest): string | undefined {
  const version = headers[TUNNEL_HEADER.version];
  return typeof version === "string" ? version : undefined;
}
