import { once } from "node:events";
import * as grpc from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { SnapshotRouteRule } from "../../federation/model/traffic-route.ts";
import { ECHO, echoClient, type EchoServer, startEcho, unary } from "../fakes/grpc-echo.ts";
import { type Mesh, startMesh } from "../fakes/mesh.ts";

/** GRPCRoute's behaviour by the names of the Gateway API's conformance tests, with a real gRPC client and real servers. */
const { status } = grpc;
const service = { namespace: "shop", name: "cart" };
const V1 = { ...service, version: "v1" };
const V2 = { ...service, version: "v2" };
let servers: readonly EchoServer[];
let mesh: Mesh;
let client: grpc.Client;

beforeAll(async () => {
  servers = [await startEcho("v1"), await startEcho("v2")];
  const endpoints = servers.map(({ address }, at) => ({ address, version: `v${at + 1}` }));
  mesh = await startMesh({ endpoint: "", endpoints });
  client = echoClient(mesh.address("ns/shop/sa/web"));
});
afterAll(async () => {
  client.close();
  mesh.close();
  await Promise.all(servers.map((server) => server.stop()));
});

function route(...rules: readonly SnapshotRouteRule[]): void {
  mesh.publish((snapshot) =>
    snapshot.cluster === "west"
      ? {
          ...snapshot,
          imports: snapshot.imports.map((rule) => ({ ...rule, versions: ["v1", "v2"] })),
          routes: [
            {
              cluster: "west",
              ...service,
              firstSeen: "2026-01-01T00:00:00Z",
              mode: "enforce",
              parents: [service],
              rules,
            },
          ],
        }
      : snapshot,
  );
}

/** Which backend answers, or the status. */
async function reached(fields: Readonly<Record<string, string>> = {}, path?: string): Promise<string> {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(fields)) metadata.set(name, value);
  const answer = await unary(client, "hello", {}, metadata, path);
  return answer.code === status.OK
    ? String(answer.metadata?.get("x-backend")[0])
    : `${status[answer.code]} ${String(answer.trailers.get("isthmus-code")[0])}`;
}

describe("Gateway API conformance of gRPC routes", () => {
  it("MeshGRPCRouteWeight: within 1 percentage point over 1,000 calls of one connection", async () => {
    route({
      backendRefs: [
        { ...V1, weight: 70 },
        { ...V2, weight: 30 },
      ],
    });
    const counts = new Map<string, number>();
    let left = 1_000;
    const lane = async (): Promise<void> => {
      while (left-- > 0) {
        const name = await reached();
        counts.set(name, (counts.get(name) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: 20 }, lane));
    expect(Math.abs((counts.get("v1") ?? 0) - 700)).toBeLessThanOrEqual(10);
    expect(Math.abs((counts.get("v2") ?? 0) - 300)).toBeLessThanOrEqual(10);
  });

  it("MeshGRPCRouteRequestHeaderModifier: metadata is set, added and removed", async () => {
    const requestHeaderModifier = {
      set: [{ name: "X-Set", value: "set" }],
      add: [{ name: "x-add", value: "added" }],
      remove: ["x-remove"],
    };
    route({ filters: [{ type: "RequestHeaderModifier", requestHeaderModifier }], backendRefs: [V1] });
    const metadata = new grpc.Metadata();
    for (const name of ["x-set", "x-add", "x-remove", "x-kept"]) metadata.set(name, "client");
    const answer = await unary(client, "hello", {}, metadata);
    const seen = JSON.parse(String(answer.metadata?.get("x-seen")[0])) as Record<string, string[]>;
    expect(seen).toMatchObject({ "x-set": ["set"], "x-kept": ["client"] });
    expect(seen["x-add"]?.join(", ")).toBe("client, added");
    expect(seen).not.toHaveProperty("x-remove");
  });

  it("GRPCExactMethodMatching: by service and method; what fits none is UNIMPLEMENTED", async () => {
    route(
      { matches: [{ method: { service: "test.Echo", method: "Unary" } }], backendRefs: [V1] },
      { matches: [{ method: { service: "test.Other" } }], backendRefs: [V2] },
    );
    expect(await reached()).toBe("v1");
    expect(await reached({}, ECHO.other.path)).toBe("v2");
    expect(await reached({}, "/test.Third/Unary")).toBe("UNIMPLEMENTED ISTH-3201");
    expect(await reached({}, "/test.Echo/Bidi")).toBe("UNIMPLEMENTED ISTH-3201");
  });

  it("GRPCRouteHeaderMatching: exactly or by a regular expression, and the more specific rule wins", async () => {
    route(
      { backendRefs: [V1] },
      { matches: [{ headers: [{ name: "Version", value: "two" }] }], backendRefs: [V2] },
      {
        matches: [{ headers: [{ name: "colour", type: "RegularExpression", value: "(blue|green)" }] }],
        backendRefs: [V2],
      },
    );
    expect(await reached()).toBe("v1");
    expect(await reached({ version: "two" })).toBe("v2");
    expect(await reached({ version: "twofold" })).toBe("v1");
    expect(await reached({ colour: "green" })).toBe("v2");
  });

  it("a backend that is not there is UNAVAILABLE", async () => {
    route({ backendRefs: [{ ...service, version: "v9" }] });
    expect(await reached()).toBe("UNAVAILABLE ISTH-3202");
  });

  it("every call of a connection is routed by itself, beside a stream that stays where it began", async () => {
    route({ backendRefs: [V1] });
    const stream = client.makeBidiStreamRequest(
      ECHO.bidi.path,
      ECHO.bidi.requestSerialize,
      ECHO.bidi.responseDeserialize,
    );
    const say = async (word: string): Promise<unknown> => {
      stream.write(word);
      return (await once(stream, "data"))[0] as unknown;
    };
    expect(await say("one")).toBe("echo one");
    expect(await reached()).toBe("v1");
    route({ backendRefs: [V2] });
    expect(await reached()).toBe("v2");
    expect(await say("two")).toBe("echo two");
    stream.end();
    const [ended] = (await once(stream, "status")) as [grpc.StatusObject];
    expect(ended.code).toBe(status.OK);
  });
});

describe("a call that its service ends with a status", () => {
  const outlier = {
    consecutiveErrors: 10,
    baseEjectionMs: 30_000,
    maxEjectionMs: 30_000,
    maxEjectionPercent: 50,
  };
  const verdict = 'isthmus_rule_verdicts_total{rule="west/shop/policy",verdict="ejected",mode="enforce"} ';

  /** Requests and failures of the canary, ejections, and the reasons that errors are counted by, since the last time. */
  const measured = (): string[] => {
    const { proxy } = mesh.member("west agent");
    const [canary] = proxy.canaries?.() ?? [];
    const lines = proxy.metrics().split("\n");
    const ejected = lines.find((line) => line.startsWith(verdict))?.slice(verdict.length) ?? "0";
    const reasons = lines.flatMap((line) => /errors_total.*reason="(grpc-[^"]+)"/.exec(line)?.[1] ?? []);
    return [`${canary?.requests} ${canary?.failures}`, ejected, ...new Set(reasons)];
  };

  it("fails for rollouts, outlier detection and counters where that is the server's failure", async () => {
    const target = { service, cluster: "east" };
    mesh.publish((snapshot) =>
      snapshot.cluster === "west"
        ? {
            ...snapshot,
            rules: {
              rateLimits: [],
              backends: [{ ...target, name: "west/shop/policy", mode: "enforce", outlier }],
              rollouts: [{ ...target, name: "r", stable: "v1", canary: "v2", weight: 100 }],
            },
          }
        : snapshot,
    );
    for (const [message, expected] of [
      ["hello", ["5 0", "0"]],
      ["fail 5", ["10 0", "0"]],
      ["fail 13", ["15 5", "0", "grpc-internal"]],
      ["late 14", ["20 10", "1", "grpc-internal", "grpc-unavailable"]],
    ] as const) {
      for (let count = 0; count < 5; count++) await unary(client, message);
      expect(measured(), message).toEqual(expected);
    }
  });
});
