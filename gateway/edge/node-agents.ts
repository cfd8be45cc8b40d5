import type { EndpointBalancer, Upstream } from "../dataplane/index.ts";
import type { AgentAddress } from "../discovery/index.ts";

/** An agent that is replaced is not listed for a while; one that was taken away for good is not waited for. */
const LEFT_MS = 300_000;

/** A cluster's agents, and which of them stands beside an endpoint: the last hop is then within that endpoint's node. */
export class NodeAgents {
  readonly upstream: Upstream;
  readonly #endpoints: EndpointBalancer;
  #byNode: ReadonlyMap<string, string> = new Map();
  /** Nodes whose agent is not listed any more. */
  readonly #left = new Map<string, NodeJS.Timeout>();

  constructor(upstream: Upstream, endpoints: EndpointBalancer) {
    this.upstream = upstream;
    this.#endpoints = endpoints;
    upstream.onReady(() => this.#passOver());
  }

  follow(agents: readonly AgentAddress[]): void {
    const before = this.#byNode;
    this.#byNode = new Map(
      agents.flatMap(({ address, node }) => (node === undefined ? [] : [[node, address] as const])),
    );
    for (const node of this.#byNode.keys()) this.#forget(node);
    for (const node of before.keys()) if (!this.#byNode.has(node)) this.#remember(node);
    this.upstream.setAddresses(agents.map(({ address }) => address));
    this.#passOver();
  }

  /** `undefined` where none is known: any agent may dial that endpoint, unless its namespace is strict. */
  beside(node: string | undefined): string | undefined {
    return node === undefined ? undefined : this.#byNode.get(node);
  }

  close(): void {
    for (const node of this.#left.keys()) this.#forget(node);
    this.upstream.close();
  }

  #remember(node: string): void {
    const forget = (): void => (this.#forget(node), this.#passOver());
    this.#left.set(node, setTimeout(forget, LEFT_MS).unref());
  }

  #forget(node: string): void {
    clearTimeout(this.#left.get(node));
    this.#left.delete(node);
  }

  /** Nodes whose agent is away for a moment; those that never had one are not, or all load would leave them. */
  #passOver(): void {
    const ready = new Set(this.upstream.readyAddresses());
    const away = [...this.#byNode].filter(([, address]) => !ready.has(address)).map(([node]) => node);
    this.#endpoints.passOver(new Set([...away, ...this.#left.keys()]));
  }
}
