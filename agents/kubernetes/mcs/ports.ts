/** Gateways listen for imported services here: above what people choose, below the kernel's own ephemeral ports. */
export const FIRST_ENTRY_PORT = 20_000;
export const LAST_ENTRY_PORT = 29_999;

/**
 * Which port the gateways listen on for each port of each imported service. What was given out stays: it is read back from
 * the derived Services, so that a restarted controller goes on with the same ones.
 */
export class EntryPorts {
  readonly #byKey = new Map<string, number>();
  readonly #taken = new Map<number, string>();

  /** What a derived Service says. Two that claim one port: the first that was seen keeps it. */
  learn(key: string, listen: number): void {
    if (this.#byKey.has(key) || this.#taken.has(listen)) return;
    if (listen < FIRST_ENTRY_PORT || listen > LAST_ENTRY_PORT) return;
    this.#byKey.set(key, listen);
    this.#taken.set(listen, key);
  }

  /** Begins where the name's hash points, so that two controllers without knowledge mostly choose alike. */
  of(key: string): number {
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const span = LAST_ENTRY_PORT - FIRST_ENTRY_PORT + 1;
    const start = hash(key) % span;
    for (let tried = 0; tried < span; tried++) {
      const port = FIRST_ENTRY_PORT + ((start + tried) % span);
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
