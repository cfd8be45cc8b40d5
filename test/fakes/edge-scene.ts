import type { LogFields } from "../../federation/model/log.ts";
import { type Mesh, type MeshOptions, startMesh } from "./mesh.ts";
import {
  answering,
  dialRaw,
  okResponse,
  type RawSocket,
  type Script,
  type ScriptedWorkload,
  startScriptedWorkload,
} from "./raw-socket.ts";

/** West's web in front, a scripted cart of east behind, and everything real in between. */
export interface EdgeScene {
  readonly mesh: Mesh;
  readonly workload: ScriptedWorkload;
  /** A connection of west's web, or of another of its workloads, to cart.shop. */
  dial(workload?: string): Promise<RawSocket>;
  /** Lines with a code that the entry logged since `start` or the last call. */
  refusals(): readonly LogFields[];
  /** What workloads sent through the entry so far. */
  bytesUp(): number;
  /** Moves every process's clock on; what is due happens within a second. */
  skip(ms: number): void;
  stop(): Promise<void>;
}

export type EdgeOptions = Partial<Omit<MeshOptions, "endpoint" | "now">> & { readonly script?: Script };

export async function startEdge(options: EdgeOptions = {}): Promise<EdgeScene> {
  let skippedMs = 0;
  const workload = await startScriptedWorkload(options.script ?? answering(okResponse()));
  const now = () => Date.now() + skippedMs;
  const mesh = await startMesh({ agents: false, ...options, endpoint: workload.address, now });
  const clients: RawSocket[] = [];
  let read = 0;
  const entry = () => mesh.member(options.agents === true ? "west agent" : "west gateway");
  return {
    mesh,
    workload,
    async dial(name = "ns/shop/sa/web") {
      const client = await dialRaw(mesh.address(name));
      clients.push(client);
      return client;
    },
    refusals() {
      const { log } = entry();
      const lines = log.slice(read).filter((line) => line["code"] !== undefined);
      read = log.length;
      return lines;
    },
    bytesUp() {
      const samples = entry()
        .proxy.metrics()
        .matchAll(/^isthmus_workload_read_bytes_total\{[^}]*\} (\d+)$/gm);
      return [...samples].reduce((total, [, value]) => total + Number(value), 0);
    },
    skip(ms) {
      skippedMs += ms;
    },
    async stop() {
      for (const client of clients) client.destroy();
      mesh.close();
      await workload.stop();
    },
  };
}
