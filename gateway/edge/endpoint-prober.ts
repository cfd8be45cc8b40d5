import { serviceAuthority } from "../../federation/model/service.ts";
import {
  type EndpointBalancer,
  ErrorCode,
  LocalStream,
  type OpenedStream,
  TUNNEL_HEADER,
  type UnreadyEndpoint,
} from "../dataplane/index.ts";
import type { NodeAgents } from "./node-agents.ts";

// Short, since a workload that is back should not wait for its first request; only those that did not accept are asked.
const PERIOD_MS = 250;
const TIMEOUT_MS = 2_000;

/** Asks endpoints that did not accept a connection whether they do again, by the way that requests would take. */
export class EndpointProber {
  readonly #endpoints: EndpointBalancer;
  readonly #agents: NodeAgents;
  readonly #timer: NodeJS.Timeout;
  /** `cart.shop:80 10.0.0.1:8080` of those that are being asked. */
  readonly #asking = new Set<string>();

  constructor(endpoints: EndpointBalancer, agents: NodeAgents) {
    this.#endpoints = endpoints;
    this.#agents = agents;
    this.#timer = setInterval(() => this.#probeAll(), PERIOD_MS).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #probeAll(): void {
    for (const unready of this.#endpoints.unready()) {
      const { service, address } = unready;
      const key = `${service} ${address}`;
      if (this.#asking.has(key)) continue;
      const stream = this.#dial(unready);
      if (stream === undefined) continue;
      this.#asking.add(key);
      const finish = (ready: boolean): void => {
        if (!this.#asking.delete(key)) return;
        clearTimeout(timer);
        if (ready) this.#endpoints.probed(service, address, true);
        stream.close(ErrorCode.cancel);
      };
      const timer = setTimeout(() => finish(false), TIMEOUT_MS);
      stream.once("response", (headers) => finish(headers[":status"] === 200));
      stream.once("close", () => finish(false));
      stream.on("error", () => {});
      stream.resume();
    }
  }

  #dial({ service, address, node }: UnreadyEndpoint): OpenedStream | undefined {
    const { upstream } = this.#agents;
    if (!upstream.hasAddresses) return new LocalStream(address);
    const [name = "", rest = ""] = service.split(".");
    const [namespace = "", port = ""] = rest.split(":");
    const headers = {
      ":method": "CONNECT",
      ":authority": address,
      [TUNNEL_HEADER.service]: serviceAuthority({ name, namespace }, Number(port)),
      [TUNNEL_HEADER.probe]: "1",
    };
    const beside = this.#agents.beside(node);
    const stream = beside === undefined ? undefined : upstream.openTo(beside, headers, () => {});
    return stream ?? upstream.open(headers, () => {});
  }
}
