import type { IncomingHttpHeaders } from "node:http";
import { afterEach } from "vitest";
import type { ServiceEndpoint } from "../../federation/model/service.ts";
import type {
  Snapshot,
  SnapshotBackend,
  SnapshotRateLimit,
  SnapshotRollout,
} from "../../federation/model/snapshot.ts";
import { H2Client } from "../fakes/h2-ask.ts";
import { type Mesh, type MeshOptions, startMesh } from "../fakes/mesh.ts";
import type { Protocol } from "../fakes/traffic-world.ts";
import { startNamedWorkload, type NamedWorkload } from "./named-workload.ts";

/** Where a workload runs; its answers say its name. */
export interface Placed {
  readonly name: string;
  readonly version?: string;
}

export interface RulesScene {
  readonly mesh: Mesh;
  readonly workloads: ReadonlyMap<string, NamedWorkload>;
  workload(name: string): NamedWorkload;
  /** Replaces the rules in force for west. */
  rules(rules: {
    readonly rateLimits?: readonly Partial<SnapshotRateLimit>[];
    readonly backends?: readonly Partial<SnapshotBackend>[];
    readonly rollouts?: readonly Partial<SnapshotRollout>[];
    readonly routes?: NonNullable<Snapshot["routes"]>;
  }): void;
  /** What `web` gets: status and the name of who answered, `429 ISTH-3301`. */
  call(headers?: Readonly<Record<string, string>>): Promise<Reply>;
  /** So many calls, one after the other: how often each answer came. They share a stream, and so an endpoint. */
  calls(count: number, headers?: Readonly<Record<string, string>>): Promise<Readonly<Record<string, number>>>;
  /** The same, several at once: over several streams. */
  crowd(count: number): Promise<Readonly<Record<string, number>>>;
  /** Moves the clock of the whole mesh. */
  advance(ms: number): void;
  metric(text: string): number;
}

export interface Reply {
  readonly what: string;
  readonly headers: Headers;
}

const service = { namespace: "shop", name: "cart" };

/** Two clusters, or three, with real workloads, sockets and tunnels; the clock is the test's. */
export function useRulesScene(protocol: Protocol = "HTTP/1.1") {
  const open: { close(): void | Promise<void> }[] = [];
  afterEach(async () => {
    for (const one of open.splice(0).reverse()) await one.close();
  });
  return async (
    east: readonly Placed[],
    options: Partial<MeshOptions> & { readonly inNorth?: readonly Placed[] } = {},
  ): Promise<RulesScene> => {
    const workloads = new Map<string, NamedWorkload>();
    const start = async (placed: readonly Placed[]): Promise<ServiceEndpoint[]> => {
      const endpoints: ServiceEndpoint[] = [];
      for (const { name, version } of placed) {
        const workload = await startNamedWorkload(name);
        workloads.set(name, workload);
        open.push(workload);
        endpoints.push({ address: workload.address, ...(version === undefined ? {} : { version }) });
      }
      return endpoints;
    };
    const endpoints = await start(east);
    const north = options.inNorth === undefined ? {} : { north: await start(options.inNorth) };
    let now = Date.now();
    const mesh = await startMesh({
      agents: false,
      endpoint: "",
      endpoints,
      ...north,
      now: () => now,
      ...options,
    });
    open.push(mesh);
    const entry = mesh.member(options.agents === true ? "west agent" : "west gateway");
    const url = `http://${mesh.address("ns/shop/sa/web")}/`;
    const http2 = new H2Client();
    open.push(http2);
    const ask = async (headers: Readonly<Record<string, string>>): Promise<Answer> => {
      if (protocol === "HTTP/1.1") {
        const answer = await fetch(url, { headers });
        return { status: answer.status, headers: answer.headers, text: await answer.text() };
      }
      const { status, headers: fields, text } = await http2.ask(new URL(url).host, "/", { headers });
      return { status, headers: asHeaders(fields), text };
    };
    const call: RulesScene["call"] = async (headers = {}) => {
      const answer = await ask(headers).catch(() => undefined);
      if (answer === undefined) return { what: "broken", headers: new Headers() };
      const what = answer.headers.get("isthmus-code") ?? answer.text.trim();
      return { what: `${answer.status} ${what}`, headers: answer.headers };
    };
    return {
      mesh,
      workloads,
      workload(name) {
        const found = workloads.get(name);
        if (found === undefined) throw new Error(`no workload ${name}`);
        return found;
      },
      rules: ({ rateLimits = [], backends = [], rollouts = [], routes = [] }) =>
        mesh.publish(
          (snapshot): Snapshot =>
            snapshot.cluster === "west"
              ? {
                  ...snapshot,
                  routes,
                  rules: {
                    rateLimits: rateLimits.map((rule) => ({ ...LIMIT, ...rule })),
                    backends: backends.map((rule) => ({ ...BACKEND, ...rule })),
                    rollouts: rollouts.map((rule) => ({ ...ROLLOUT, ...rule })),
                  },
                }
              : snapshot,
        ),
      call,
      async calls(count, headers) {
        const counts: Record<string, number> = {};
        for (let index = 0; index < count; index++) {
          const { what } = await call(headers);
          counts[what] = (counts[what] ?? 0) + 1;
        }
        return counts;
      },
      async crowd(count) {
        const counts: Record<string, number> = {};
        let left = count;
        const one = async () => {
          while (left-- > 0) {
            const { what } = await call();
            counts[what] = (counts[what] ?? 0) + 1;
          }
        };
        await Promise.all(Array.from({ length: 12 }, one));
        return counts;
      },
      advance(ms) {
        now += ms;
      },
      metric(text) {
        const line = entry.proxy
          .metrics()
          .split("\n")
          .find((one) => one.startsWith(text));
        return Number(line?.split(" ").at(-1) ?? 0);
      },
    };
  };
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

function asHeaders(fields: IncomingHttpHeaders): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(fields))
    if (!name.startsWith(":")) for (const one of [value].flat()) headers.append(name, String(one));
  return headers;
}

const LIMIT: SnapshotRateLimit = {
  name: "west/shop/limit",
  service,
  from: [],
  requests: 100,
  unitMs: 1_000,
  burst: 5,
  scope: "Local",
  mode: "enforce",
};
const BACKEND: SnapshotBackend = { name: "west/shop/policy", service, mode: "enforce" };
const ROLLOUT: SnapshotRollout = {
  name: "west/shop/rollout",
  service,
  stable: "v1",
  canary: "v2",
  weight: 0,
};
