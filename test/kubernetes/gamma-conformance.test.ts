// Longer than other files: one row for every name of the Gateway API's mesh tests that needs no kubelet, read as a table.
import { createServer, type IncomingMessage } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import * as grpc from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  ENDPOINT_SLICES,
  GRPC_ROUTES,
  HTTP_ROUTES,
  PODS,
  SERVICE_EXPORTS,
  SERVICES,
  TRAFFIC_SPLITS,
} from "../../agents/kubernetes/api/resource-type.ts";
import { type KubeScene, startKubeScene, WEB } from "../fakes/kube-scene.ts";
import { dial, type KubeCluster, localAddress, until } from "../fakes/kube-world.ts";
import { pod, service, serviceExport, slice } from "./objects.ts";

const [SLICES] = ENDPOINT_SLICES;
const [EXPORTS] = SERVICE_EXPORTS;
const GUEST = localAddress(32);
const GRPC_NAMES = ["grpc-echo", "grpc-v1", "grpc-v2"];

let scene: KubeScene;
let west: KubeCluster;

async function echo(east: KubeCluster, name: string, host: number): Promise<void> {
  const answer = (request: IncomingMessage) =>
    JSON.stringify({ name, path: request.url, headers: request.headers });
  const server = createServer((request, response) => response.end(answer(request))).listen(
    0,
    localAddress(host),
  );
  scene.servers.push(server);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await east.api.put(
    SERVICES,
    service(name, {
      ports: [
        { name: "http", port: 80 },
        { name: "http-alt", port: 8080 },
      ],
    }),
  );
  const ports = [
    { name: "http", port },
    { name: "http-alt", port },
  ];
  await east.api.put(SLICES, slice(name, { ports, addresses: [localAddress(host)] }));
  await east.api.put(EXPORTS, serviceExport(name));
}

/** A gRPC server by @grpc/grpc-js that says who it is and which metadata came. */
async function grpcEcho(east: KubeCluster, name: string, host: number): Promise<void> {
  const server = new grpc.Server();
  const asText = (bytes: Buffer): string => bytes.toString();
  const asBytes = (value: string): Buffer => Buffer.from(value);
  const codec = {
    requestSerialize: asBytes,
    requestDeserialize: asText,
    responseSerialize: asBytes,
    responseDeserialize: asText,
  };
  server.addService(
    { Echo: { path: "/conformance.Echo/Echo", requestStream: false, responseStream: false, ...codec } },
    {
      Echo: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) =>
        done(null, JSON.stringify({ name, headers: call.metadata.getMap() })),
    },
  );
  const address = localAddress(host);
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync(`${address}:0`, grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  scene.servers.push({ close: () => server.forceShutdown() });
  await east.api.put(SERVICES, service(name, { ports: [{ name: "grpc", port: 80 }] }));
  await east.api.put(SLICES, slice(name, { ports: [{ name: "grpc", port }], addresses: [address] }));
  await east.api.put(EXPORTS, serviceExport(name));
}

beforeAll(async () => {
  scene = await startKubeScene("guests");
  west = scene.west;
  await west.api.put(PODS, pod("guest-1", "guest", GUEST, { namespace: "guests" }));
  for (const [index, name] of ["echo", "echo-v1", "echo-v2"].entries())
    await echo(scene.east, name, 41 + index);
  for (const [index, name] of GRPC_NAMES.entries()) await grpcEcho(scene.east, name, 51 + index);
  for (const name of GRPC_NAMES)
    await until(`${name} answers`, 10_000, async () =>
      (await callGrpc(name).catch(() => undefined))?.name === name ? true : undefined,
    );
  for (const name of ["echo", "echo-v1", "echo-v2"])
    await until(`${name} answers`, 10_000, async () =>
      (await send({ to: name }).catch(() => undefined))?.status === 200 ? true : undefined,
    );
}, 120_000);

afterAll(async () => {
  await scene?.close();
});

interface Sent {
  readonly to?: string;
  readonly port?: "http" | "http-alt";
  readonly path?: string;
  readonly host?: string;
  readonly headers?: Record<string, string>;
  readonly from?: string;
}

interface Got {
  readonly status: number;
  readonly fields: Record<string, string>;
  readonly body: {
    readonly name?: string;
    readonly path?: string;
    readonly headers?: Record<string, string>;
  };
}

/** The endpoint of the derived slices that kube-proxy would choose. */
async function wayTo(to: string, port: string): Promise<{ readonly address: string; readonly port: number }> {
  const slices = await west.api.list(SLICES, "shop");
  const found = slices.find(
    ({ metadata }) => metadata.labels?.["multicluster.kubernetes.io/service-name"] === to,
  ) as
    | {
        readonly ports: readonly { readonly name: string; readonly port: number }[];
        readonly endpoints: readonly { readonly addresses: readonly string[] }[];
      }
    | undefined;
  const number = found?.ports.find(({ name }) => name === port)?.port;
  const address = found?.endpoints[0]?.addresses[0];
  if (number === undefined || address === undefined) throw new Error(`no way to ${to}`);
  return { address, port: number };
}

async function send({
  to = "echo",
  port = "http",
  path = "/",
  host = "echo",
  headers = {},
  from = WEB,
}: Sent): Promise<Got> {
  const socket = await dial(from, await wayTo(to, port));
  const fields = Object.entries({ host, connection: "close", ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  socket.end(`GET ${path} HTTP/1.1\r\n${fields.join("")}\r\n`);
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  const [head = "", body = ""] = text.split("\r\n\r\n");
  const [line = "", ...lines] = head.split("\r\n");
  const got = Object.fromEntries(
    lines.map((each) => [
      each.slice(0, each.indexOf(":")).toLowerCase(),
      each.slice(each.indexOf(":") + 1).trim(),
    ]),
  );
  const json = body.slice(body.indexOf("{"), body.lastIndexOf("}") + 1);
  return {
    status: Number(line.split(" ")[1]),
    fields: got,
    body: json === "" ? {} : (JSON.parse(json) as Got["body"]),
  };
}

interface GrpcGot {
  readonly name?: string;
  readonly headers?: Record<string, string>;
}

/** One unary call over HTTP/2 by node's own client, from the pod's address. */
async function callGrpc(to: string, headers: Record<string, string> = {}): Promise<GrpcGot> {
  const socket = await dial(WEB, await wayTo(to, "grpc"));
  const session = connectHttp2("http://grpc-echo", { createConnection: () => socket });
  session.on("error", () => {});
  try {
    const stream = session.request({
      ":method": "POST",
      ":path": "/conformance.Echo/Echo",
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    let trailers: IncomingHttpHeaders = {};
    // An answer that is nothing but a refusal has its status at the head.
    stream.on("response", (received) => (trailers = received));
    stream.on("trailers", (received: IncomingHttpHeaders) => (trailers = received));
    // Not compressed, one byte: an empty message is none to this server.
    stream.end(Buffer.from([0, 0, 0, 0, 1, 0x78]));
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    if (trailers["grpc-status"] !== "0") throw new Error(`grpc-status ${String(trailers["grpc-status"])}`);
    return JSON.parse(Buffer.concat(chunks).subarray(5).toString()) as GrpcGot;
  } finally {
    session.destroy();
  }
}

const IMPORT = { group: "multicluster.x-k8s.io", kind: "ServiceImport" };
const backend = (name: string, more: object = {}) => ({ ...IMPORT, name, port: 80, ...more });

interface Row {
  readonly name: string;
  readonly rules: readonly object[];
  readonly parent?: object;
  readonly hostnames?: readonly string[];
  readonly space?: string;
  readonly sent: Sent;
  readonly status?: number;
  readonly to?: string;
  readonly path?: string;
  readonly fields?: Record<string, string>;
  readonly headers?: Record<string, string>;
  /** Sent besides: answered by the service itself. */
  readonly untouched?: Sent;
}

const redirect = (requestRedirect: object) => [{ filters: [{ type: "RequestRedirect", requestRedirect }] }];
const modifier = {
  set: [{ name: "x-set", value: "set" }],
  add: [{ name: "x-add", value: "add" }],
  remove: ["x-remove"],
};

const ROWS: readonly Row[] = [
  { name: "MeshBasic", rules: [{}], sent: {}, to: "echo" },
  {
    name: "MeshPorts",
    parent: { port: 8080 },
    rules: [{ backendRefs: [backend("echo-v1")] }],
    sent: { port: "http-alt" },
    to: "echo-v1",
    untouched: {},
  },
  {
    name: "MeshConsumerRoute",
    space: "guests",
    rules: [{ backendRefs: [backend("echo-v2", { namespace: "shop" })] }],
    sent: { from: GUEST },
    to: "echo-v2",
    untouched: {},
  },
  {
    name: "MeshFrontend",
    rules: [
      {
        filters: [
          {
            type: "ResponseHeaderModifier",
            responseHeaderModifier: { set: [{ name: "x-set", value: "set" }] },
          },
        ],
      },
    ],
    sent: {},
    fields: { "x-set": "set" },
  },
  {
    name: "MeshFrontendHostname",
    hostnames: ["other.example"],
    rules: [
      {
        filters: [
          {
            type: "ResponseHeaderModifier",
            responseHeaderModifier: { set: [{ name: "x-set", value: "set" }] },
          },
        ],
      },
    ],
    sent: { host: "any" },
    fields: { "x-set": "set" },
  },
  {
    name: "MeshHTTPRouteMatching",
    rules: [
      {
        matches: [
          { path: { type: "PathPrefix", value: "/v2" } },
          { headers: [{ name: "version", value: "two" }] },
        ],
        backendRefs: [backend("echo-v2")],
      },
      { backendRefs: [backend("echo-v1")] },
    ],
    sent: { headers: { version: "two" } },
    to: "echo-v2",
  },
  {
    name: "MeshHTTPRouteSimpleSameNamespace",
    rules: [{ backendRefs: [backend("echo-v1")] }],
    sent: {},
    to: "echo-v1",
  },
  {
    name: "MeshHTTPRouteQueryParamMatching",
    rules: [
      { matches: [{ queryParams: [{ name: "animal", value: "whale" }] }], backendRefs: [backend("echo-v1")] },
      { backendRefs: [backend("echo-v2")] },
    ],
    sent: { path: "/?animal=whale" },
    to: "echo-v1",
  },
  {
    name: "MeshHTTPRouteNamedRule",
    rules: [
      {
        name: "named",
        matches: [{ path: { type: "PathPrefix", value: "/named" } }],
        backendRefs: [backend("echo-v1")],
      },
      {},
    ],
    sent: { path: "/named" },
    to: "echo-v1",
  },
  {
    name: "MeshHTTPRouteRequestHeaderModifier",
    rules: [{ filters: [{ type: "RequestHeaderModifier", requestHeaderModifier: modifier }] }],
    sent: { headers: { "x-remove": "yes" } },
    headers: { "x-set": "set", "x-add": "add" },
  },
  {
    name: "MeshHTTPRouteBackendRequestHeaderModifier",
    rules: [
      {
        backendRefs: [
          backend("echo-v1", {
            filters: [{ type: "RequestHeaderModifier", requestHeaderModifier: modifier }],
          }),
        ],
      },
    ],
    sent: {},
    to: "echo-v1",
    headers: { "x-set": "set" },
  },
  {
    name: "MeshHTTPRouteRewritePath",
    rules: [
      {
        matches: [{ path: { type: "PathPrefix", value: "/old" } }],
        filters: [
          {
            type: "URLRewrite",
            urlRewrite: { path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/new" } },
          },
        ],
      },
    ],
    sent: { path: "/old/one" },
    path: "/new/one",
  },
  {
    name: "MeshHTTPRouteRedirectHostAndStatus",
    rules: redirect({ hostname: "example.org", statusCode: 301 }),
    sent: { path: "/x" },
    status: 301,
    fields: { location: "http://example.org/x" },
  },
  {
    name: "MeshHTTPRouteRedirectPath",
    rules: redirect({ path: { type: "ReplaceFullPath", replaceFullPath: "/full" } }),
    sent: { path: "/x" },
    status: 302,
    fields: { location: "http://echo/full" },
  },
  {
    name: "MeshHTTPRouteRedirectPort",
    rules: redirect({ port: 8083 }),
    sent: { path: "/x" },
    status: 302,
    fields: { location: "http://echo:8083/x" },
  },
  {
    name: "MeshHTTPRouteSchemeRedirect",
    rules: redirect({ scheme: "https" }),
    sent: { path: "/x" },
    status: 302,
    fields: { location: "https://echo/x" },
  },
  {
    name: "MeshHTTPRoute303Redirect",
    rules: redirect({ statusCode: 303, hostname: "example.org" }),
    sent: {},
    status: 303,
  },
  {
    name: "MeshHTTPRoute307Redirect",
    rules: redirect({ statusCode: 307, hostname: "example.org" }),
    sent: {},
    status: 307,
  },
  {
    name: "MeshHTTPRoute308Redirect",
    rules: redirect({ statusCode: 308, hostname: "example.org" }),
    sent: {},
    status: 308,
  },
];

const httpRoute = ({
  space = "shop",
  parent,
  hostnames,
  rules,
}: Pick<Row, "space" | "parent" | "hostnames" | "rules">) => ({
  metadata: { namespace: space, name: "conformance" },
  spec: {
    parentRefs: [{ ...IMPORT, name: "echo", namespace: "shop", ...parent }],
    ...(hostnames === undefined ? {} : { hostnames }),
    rules,
  },
});

/** Until the gateway has the rules of a declaration that was accepted, told by the route's own status. */
async function inForce(space = "shop", type = HTTP_ROUTES): Promise<void> {
  await until("the route is accepted", 8_000, async () => {
    const found = await west.api.get(type, space, "conformance");
    const { parents = [] } = (found?.status ?? {}) as { parents?: { conditions: { status: string }[] }[] };
    return parents[0]?.conditions[0]?.status === "True" ? true : undefined;
  });
}

describe("Gateway API mesh conformance", () => {
  it.each(ROWS)("$name", async (row) => {
    await west.api.put(HTTP_ROUTES, httpRoute(row));
    await inForce(row.space);
    const fits = ({ status, body, fields }: Got): boolean =>
      status === (row.status ?? 200) &&
      (row.to === undefined || body.name === row.to) &&
      (row.path === undefined || body.path === row.path) &&
      Object.entries(row.fields ?? {}).every(([name, value]) => fields[name] === value) &&
      Object.entries(row.headers ?? {}).every(([name, value]) => body.headers?.[name] === value);
    let last: Got | undefined;
    await until("the answer is as the route says", 4_000, async () => {
      last = await send(row.sent);
      return fits(last) ? true : undefined;
    }).catch(() => undefined);
    expect({ ...last, fits: last !== undefined && fits(last) }).toMatchObject({ fits: true });
    if (row.untouched !== undefined) expect((await send(row.untouched)).body.name).toBe("echo");
    await west.api.remove(HTTP_ROUTES, row.space ?? "shop", "conformance");
  });

  it.each([
    ["MeshHTTPRouteWeight", HTTP_ROUTES],
    ["MeshTrafficSplit", TRAFFIC_SPLITS],
  ] as const)("%s", async (_, type) => {
    const backends = [backend("echo-v1", { weight: 70 }), backend("echo-v2", { weight: 30 })];
    const spec = {
      service: "echo",
      backends: backends.map(({ name, weight }: { name?: string; weight?: number }) => ({
        service: name,
        weight,
      })),
    };
    const given =
      type === TRAFFIC_SPLITS
        ? { metadata: { namespace: "shop", name: "conformance" }, spec }
        : httpRoute({ rules: [{ backendRefs: backends }] });
    await west.api.put(type, given);
    await until("the split is in force", 8_000, async () =>
      /^echo-v[12]$/.test((await send({})).body.name ?? "") ? true : undefined,
    );
    const answers = await Promise.all(Array.from({ length: 200 }, () => send({})));
    const first = answers.filter(({ body }) => body.name === "echo-v1").length;
    expect(answers.filter(({ body }) => body.name === "echo-v2")).toHaveLength(200 - first);
    expect(first / 200).toBeGreaterThan(0.55);
    expect(first / 200).toBeLessThan(0.85);
    await west.api.remove(type, "shop", "conformance");
    await until("the split is gone", 8_000, async () =>
      (await send({})).body.name === "echo" ? true : undefined,
    );
  });

  const grpcRoute = (rules: readonly object[]) => ({
    metadata: { namespace: "shop", name: "conformance" },
    spec: { parentRefs: [{ ...IMPORT, name: "grpc-echo" }], rules },
  });

  it("MeshGRPCRouteWeight", async () => {
    const backendRefs = [backend("grpc-v1", { weight: 70 }), backend("grpc-v2", { weight: 30 })];
    await west.api.put(GRPC_ROUTES, grpcRoute([{ backendRefs }]));
    await inForce("shop", GRPC_ROUTES);
    await until("the weights are in force", 8_000, async () =>
      (await callGrpc("grpc-echo")).name === "grpc-echo" ? undefined : true,
    );
    const answers = await Promise.all(Array.from({ length: 200 }, () => callGrpc("grpc-echo")));
    const first = answers.filter(({ name }) => name === "grpc-v1").length;
    expect(answers.filter(({ name }) => name === "grpc-v2")).toHaveLength(200 - first);
    expect(first / 200).toBeGreaterThan(0.55);
    expect(first / 200).toBeLessThan(0.85);
    await west.api.remove(GRPC_ROUTES, "shop", "conformance");
    await until("the weights are gone", 8_000, async () =>
      (await callGrpc("grpc-echo")).name === "grpc-echo" ? true : undefined,
    );
  });

  it("MeshGRPCRouteRequestHeaderModifier", async () => {
    const matches = [{ method: { service: "conformance.Echo", method: "Echo" } }];
    const filters = [{ type: "RequestHeaderModifier", requestHeaderModifier: modifier }];
    await west.api.put(GRPC_ROUTES, grpcRoute([{ matches, filters, backendRefs: [backend("grpc-v1")] }]));
    const got = await until("the route is in force", 8_000, async () => {
      const answer = await callGrpc("grpc-echo", { "x-remove": "yes" });
      return answer.name === "grpc-v1" ? answer : undefined;
    });
    expect(got.headers).toMatchObject({ "x-set": "set", "x-add": "add" });
    expect(got.headers).not.toHaveProperty("x-remove");
    await west.api.remove(GRPC_ROUTES, "shop", "conformance");
  });

  it("tells what it does not support on the route, and keeps the last good rules", async () => {
    await west.api.put(HTTP_ROUTES, httpRoute({ rules: [{ backendRefs: [backend("echo-v1")] }] }));
    await inForce();
    await west.api.put(
      HTTP_ROUTES,
      httpRoute({ rules: [{ filters: [{ type: "ExtensionRef", extensionRef: { name: "x" } }] }] }),
    );
    const told = await until("the route is refused", 8_000, async () => {
      const found = await west.api.get(HTTP_ROUTES, "shop", "conformance");
      const { parents = [] } = (found?.status ?? {}) as {
        parents?: { conditions: { status: string; reason: string }[] }[];
      };
      const [accepted] = parents[0]?.conditions ?? [];
      return accepted?.status === "False" ? accepted : undefined;
    });
    expect(told.reason).toBe("UnsupportedValue");
    expect((await send({})).body.name).toBe("echo-v1");
    await west.api.remove(HTTP_ROUTES, "shop", "conformance");
  });
});
