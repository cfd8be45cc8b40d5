/** Gateways listen for imported services here: above what people choose, below the kernel's own ephemeral ports. */
export const FIRST_ENTRY_PORT = 20_000;
export const LAST_ENTRY_PORT = 29_999;
/** On a node, where agents listen for this cluster's own services. */
export const MESH_PORTS = { first: 16_000, last: 19_999 } as const;

/**
 * Which port the gateways listen on for each port of each imported service. What was given out stays: it is read back from
 * the derived Services, so that a restarted controller goes on with the same ones.
 */
export class EntryPorts {
  readonly #byKey = new Map<string, number>();
  readonly #taken = new Map<number, string>();
  readonly #range: { readonly first: number; readonly last: number };

  constructor(range = { first: FIRST_ENTRY_PORT, last: LAST_ENTRY_PORT }) {
    this.#range = range;
  }

  /** What a derived Service says. Two that claim one port: the first that was seen keeps it. */
  learn(key: string, listen: number): void {
    if (this.#byKey.has(key) || this.#taken.has(listen)) return;
    if (listen < this.#range.first || listen > this.#range.last) return;
    this.#byKey.set(key, listen);
    this.#taken.set(listen, key);
  }

  /** Begins where the name's hash points, so that two controllers without knowledge mostly choose alike. */
  of(key: string): number {
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const { first, last } = this.#range;
    const span = last - first + 1;
    const start = hash(key) % span;
    for (let tried = 0; tried < span; tried++) {
      const port = first + ((start + tried) % span);
      if (this.#taken.has(port)) continue;
      this.learn(key, port);
      return port;
    }
    // Ten thousand imported ports: nothing listens at 0, and the import says that it is not ready.
    return 0;
  }

  forget(service: string): void {
    for (const [key, port] of this.#byKey) {
      if (!key.startsWith(`${service}:`)) continue;
      this.#byKey.delete(key);
      this.#taken.delete(port);
    }
  }
}

/** FNV-1a. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193) >>> 0;
  return value;
}
