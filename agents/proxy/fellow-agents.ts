import type { OpenedStream, RequestFields, Upstream } from "../../gateway/dataplane/index.ts";

/** A tunnel is given up when nobody called there for a while, so that a large cluster does not keep all tunnels to all nodes. */
const UNUSED_MS = 600_000;
const SWEEP_MS = 60_000;

/** The agents of other nodes: a tunnel to one is dialled when somebody calls there. */
export class FellowAgents {
  readonly #upstream: Upstream;
  readonly #now: () => number;
  readonly #usedAtMs = new Map<string, number>();
  readonly #sweeper: NodeJS.Timeout;

  constructor(upstream: Upstream, now: () => number) {
    this.#upstream = upstream;
    this.#now = now;
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS).unref();
  }

  /** Known not to answer. Nobody calls it as long as there are others; unused, it is forgotten, and tried anew. */
  isAway(agent: string): boolean {
    return this.#upstream.isAway(agent);
  }

  /** A stream through the tunnel to it; `undefined` while none stands: it is dialled. */
  open(agent: string, headers: RequestFields): OpenedStream | undefined {
    const isDialled = this.#usedAtMs.has(agent);
    this.#usedAtMs.set(agent, this.#now());
    if (!isDialled) this.#upstream.setAddresses([...this.#usedAtMs.keys()]);
    return this.#upstream.openTo(agent, headers, () => {});
  }

  /** Called whenever one may have become ready, or be known to be away. */
  onChange(listener: () => void): () => void {
    return this.#upstream.onReady(listener);
  }

  close(): void {
    clearInterval(this.#sweeper);
    this.#upstream.close();
  }

  #sweep(): void {
    const before = this.#usedAtMs.size;
    for (const [agent, atMs] of this.#usedAtMs)
      if (this.#now() - atMs > UNUSED_MS) this.#usedAtMs.delete(agent);
    if (this.#usedAtMs.size !== before) this.#upstream.setAddresses([...this.#usedAtMs.keys()]);
  }
}
