import { createRegistryClient, type RegistryClient } from "../../federation/cli/registry-client.ts";
import type { AppliedResource } from "../../federation/model/resource.ts";
import type { Random } from "../fuzz/random.ts";
import type { Read, Write } from "./history.ts";

const PATIENCE_MS = 3_000;
const PAUSE_MS = 5;
/** Each writer has its own names, so that it knows what it wrote; all meet in the federation's revision. */
const NAMES = 25;

export function clientOf(url: string, token: string): RegistryClient {
  return createRegistryClient({ url, token, timeoutMs: PATIENCE_MS });
}

export function serviceNames(writers: number): readonly string[] {
  return Array.from({ length: writers }, (_, writer) =>
    Array.from({ length: NAMES }, (_, name) => `w${writer}-${name}`),
  ).flat();
}

function exportWith(name: string, value: string): AppliedResource {
  return {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "ServiceExport",
    metadata: { cluster: "east", namespace: "shop", name },
    spec: { consumers: [{ cluster: "west", workloads: [`ns/shop/sa/${value}`] }] },
  };
}

export function targetOf(name: string): string {
  return `ServiceExport/east/shop/${name}`;
}

/** Writes, revokes and reads one after the other, at whichever instance there is, and notes what it saw. */
export class Writer {
  readonly writes: Write[] = [];
  readonly reads: Read[] = [];
  readonly #id: number;
  readonly #random: Random;
  readonly #clients: () => readonly RegistryClient[];
  readonly #there = new Set<string>();
  #count = 0;

  constructor(id: number, random: Random, clients: () => readonly RegistryClient[]) {
    this.#id = id;
    this.#random = random;
    this.#clients = clients;
  }

  async run(stopped: () => boolean): Promise<void> {
    while (!stopped()) {
      const name = `w${this.#id}-${this.#random.below(NAMES)}`;
      const turn = this.#random.below(10);
      if (turn < 2) await this.#read();
      else if (turn < 4 && this.#there.has(name)) await this.#revoke(name);
      else if (turn === 9 && this.#count % 7 === 0) await this.#register();
      else await this.#export(name);
      this.#count += 1;
    }
  }

  /** With its token until it is acknowledged: then it happened once, however often it was sent. */
  async #export(name: string): Promise<void> {
    const value = `v${this.#id}-${this.#count}`;
    const requestToken = `chaos-${this.#id}-${this.#count}`;
    const invoked = performance.now();
    for (;;) {
      const client = await this.#client();
      const answer = await client.apply([exportWith(name, value)], { requestToken });
      if (answer.ok) {
        const returned = performance.now();
        this.writes.push({
          action: "resource.apply",
          target: targetOf(name),
          value,
          invoked,
          returned,
          revision: answer.value.revision,
        });
        this.#there.add(name);
        return;
      }
      if (!isOutage(answer.error.name))
        throw new Error(`${name}: ${answer.error.name} ${answer.error.detail}`);
    }
  }

  /** Without a token: an answer that got lost leaves it in doubt until the next look. */
  async #revoke(name: string): Promise<void> {
    const client = await this.#client();
    const invoked = performance.now();
    const answer = await client.delete({ kind: "ServiceExport", cluster: "east", namespace: "shop", name });
    const base = { action: "resource.delete", target: targetOf(name), invoked } as const;
    if (answer.ok)
      this.writes.push({ ...base, returned: performance.now(), revision: answer.value.revision });
    else if (answer.error.name !== "not_found") this.writes.push(base);
    this.#there.delete(name);
  }

  async #register(): Promise<void> {
    const name = `c${this.#id}-${this.#count}`;
    const client = await this.#client();
    const invoked = performance.now();
    const answer = await client.register(name);
    const base = { action: "cluster.register", target: `Cluster/${name}`, invoked } as const;
    this.writes.push(answer.ok ? { ...base, returned: performance.now() } : base);
  }

  async #read(): Promise<void> {
    const client = await this.#client();
    const invoked = performance.now();
    const answer = await client.list({ kind: "ServiceExport", cluster: "east" });
    if (!answer.ok) return;
    const content = contentOf(answer.value.items);
    this.reads.push({ invoked, returned: performance.now(), revision: answer.value.revision, content });
  }

  async #client(): Promise<RegistryClient> {
    for (;;) {
      const clients = this.#clients();
      const client = clients[this.#random.below(Math.max(1, clients.length))];
      if (client !== undefined) return client;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

function isOutage(name: string): boolean {
  return ["registry_unreachable", "store_unavailable", "limit_exceeded", "upstream_timeout"].includes(name);
}

export function contentOf(items: readonly object[]): ReadonlyMap<string, string> {
  return new Map(
    (items as readonly AppliedResource[]).flatMap((item) =>
      item.kind === "ServiceExport"
        ? [
            [
              targetOf(item.metadata.name),
              item.spec.consumers[0]?.workloads?.[0]?.replace("ns/shop/sa/", "") ?? "",
            ] as const,
          ]
        : [],
    ),
  );
}
