import type { OpenedStream, RequestFields } from "../../gateway/dataplane/index.ts";
import type { FellowAgents } from "./fellow-agents.ts";
import type { MeshEndpoint } from "./mesh.ts";

/** How long a call waits in all for an agent that answers. */
const SEARCH_MS = 2_000;
/** An agent that has said nothing for this long is still awaited, but no longer alone (as RFC 8305 §5 does with addresses). */
const SILENT_MS = 250;
/** So that one call to a cluster that lost many nodes does not dial all of them. */
const MAX_AGENTS = 6;

interface OrderOptions {
  readonly isStrict: boolean;
  readonly isAway: (agent: string) => boolean;
  readonly random: () => number;
}

/** In which order a call tries endpoints: at random, those beside an agent known to be away last. A strict namespace's are never called plainly. */
export function tryingOrder(
  endpoints: readonly MeshEndpoint[],
  { isStrict, isAway, random }: OrderOptions,
): readonly MeshEndpoint[] {
  const allowed = isStrict ? endpoints.filter(({ local, agent }) => local || agent !== undefined) : endpoints;
  const isLast = ({ local, agent }: MeshEndpoint): boolean => !local && agent !== undefined && isAway(agent);
  return allowed
    .map((endpoint) => ({ endpoint, place: random() + (isLast(endpoint) ? 1 : 0) }))
    .sort((a, b) => a.place - b.place)
    .map(({ endpoint }) => endpoint);
}

export type Found =
  /** Of this node. */
  | { readonly kind: "local"; readonly endpoint: MeshEndpoint }
  /** No agent stands beside it. */
  | { readonly kind: "plain"; readonly endpoint: MeshEndpoint }
  | { readonly kind: "tunnel"; readonly stream: OpenedStream }
  | { readonly kind: "none"; readonly tried: readonly string[] };

export interface Search {
  readonly endpoints: readonly MeshEndpoint[];
  readonly agents: Pick<FellowAgents, "isAway" | "open" | "onChange">;
  /** `undefined` while the caller has no identity. */
  readonly fields: (endpoint: MeshEndpoint) => RequestFields | undefined;
  /** Nobody waits for the outcome any more. */
  readonly isOver: () => boolean;
  /** Once, unless it is over before. */
  readonly onFound: (found: Found) => void;
}

/**
 * The first of these endpoints, in their order, that can be reached. While an agent has not answered nothing was sent, so the
 * next one may be asked: at once when it is away, soon when it is silent. Whichever answers first is taken.
 */
export function searchEndpoint(search: Search): void {
  new EndpointSearch(search).start();
}

class EndpointSearch {
  readonly #search: Search;
  /** By agent: its other endpoints are reached, or not, the same way. */
  readonly #awaited = new Map<string, MeshEndpoint>();
  /** The last of them. */
  #asked: string | undefined;
  #silence: NodeJS.Timeout | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #stop: (() => void) | undefined;
  #isDone = false;

  constructor(search: Search) {
    this.#search = search;
  }

  start(): void {
    this.#goOn();
    if (this.#isDone) return;
    this.#deadline = setTimeout(
      () => this.#finish({ kind: "none", tried: [...this.#awaited.keys()] }),
      SEARCH_MS,
    );
    this.#stop = this.#search.agents.onChange(() => {
      for (const [agent, endpoint] of this.#awaited) if (this.#open(agent, endpoint)) return;
      this.#goOn();
    });
  }

  /** Asks others as soon as the one asked last is away. */
  #goOn(): void {
    while (!this.#isDone && (this.#asked === undefined || this.#search.agents.isAway(this.#asked)))
      if (!this.#askNext()) return;
  }

  /** Whether there was another one to ask. */
  #askNext(): boolean {
    if (this.#awaited.size >= MAX_AGENTS) return false;
    const next = this.#search.endpoints.find(
      ({ local, agent }) => local || agent === undefined || !this.#awaited.has(agent),
    );
    if (next === undefined) return false;
    const { local, agent } = next;
    if (local || agent === undefined) this.#finish({ kind: local ? "local" : "plain", endpoint: next });
    else this.#ask(agent, next);
    return true;
  }

  #ask(agent: string, endpoint: MeshEndpoint): void {
    this.#awaited.set(agent, endpoint);
    this.#asked = agent;
    clearTimeout(this.#silence);
    if (!this.#open(agent, endpoint)) this.#silence = setTimeout(() => this.#askNext(), SILENT_MS);
  }

  /** Whether nothing more is to be done. */
  #open(agent: string, endpoint: MeshEndpoint): boolean {
    const { isOver, fields, agents } = this.#search;
    const headers = isOver() ? undefined : fields(endpoint);
    const stream = headers && agents.open(agent, headers);
    if (stream !== undefined) this.#finish({ kind: "tunnel", stream });
    else if (isOver()) this.#finish({ kind: "none", tried: [] });
    return this.#isDone;
  }

  #finish(found: Found): void {
    if (this.#isDone) return;
    this.#isDone = true;
    clearTimeout(this.#silence);
    clearTimeout(this.#deadline);
    this.#stop?.();
    if (!this.#search.isOver()) this.#search.onFound(found);
  }
}
