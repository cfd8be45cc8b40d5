// Longer than other files: a row for every field and every way in which fields meet, read as a table.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { AuthorizationPolicySpec } from "../../federation/model/authorization-policy.ts";
import type { AuthorizationPolicyResource } from "../../federation/model/resource.ts";
import { authorizationPolicySpec } from "../../federation/model/wire/authorization-policy.ts";
import { decodeAppliedResource } from "../../federation/model/wire/resource.ts";
import { type Ask, type Protocol, startTrafficWorld, type TrafficWorld } from "../fakes/traffic-world.ts";
import { fieldsOf } from "./fields-of.ts";

/**
 * Who gets through, over four hops, with the registry's own compiler in front: east's policies about its cart.shop and
 * stock.shop, called by web and batch of shop and reader of blog in west. The export lets web and reader call cart, and all
 * call stock.
 */
let world: TrafficWorld;

let made = 0;
function policy(
  spec: AuthorizationPolicySpec,
  metadata: { readonly cluster?: string; readonly namespace?: string } = {},
): AuthorizationPolicyResource {
  const { cluster = "east", namespace = "shop" } = metadata;
  made += 1;
  const decoded = decodeAppliedResource({
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "AuthorizationPolicy",
    metadata: { cluster, namespace, name: `policy-${made}` },
    spec,
  });
  if (!decoded.ok) throw new Error(JSON.stringify(decoded.error));
  return decoded.value as AuthorizationPolicyResource;
}

type Caller = NonNullable<Ask["caller"]>;

const call = async (caller: Caller, service = "cart.shop", method = "GET", path = "/"): Promise<string> => {
  const body = method === "POST" ? { body: "x".repeat(10_000) } : {};
  const { status, text } = await world.ask(path, { caller, service, method, ...body });
  return status === 200 ? "200" : `${status} ${(JSON.parse(text) as { readonly code: string }).code}`;
};
const DENIED = "403 ISTH-2006";
const OBSERVED = "isthmus_authorization_observed_denials_total";

interface Row {
  readonly does: string;
  readonly fields: readonly string[];
  readonly policies: readonly AuthorizationPolicyResource[];
  /** `web cart.shop` or `web cart.shop POST /a` → what it gets. */
  readonly calls: { readonly [call: string]: string };
}

const ROWS: readonly Row[] = [
  {
    does: "an allow lets in whom it names, and nobody else",
    fields: ["action", "from[].workload"],
    policies: [policy({ action: "allow", from: [{ workload: "ns/shop/sa/web" }] })],
    calls: { "web cart.shop": "200", "reader cart.shop": DENIED, "batch stock.shop": DENIED },
  },
  {
    does: "a deny keeps out whom it names, and nobody else",
    fields: ["action", "from[].namespace"],
    policies: [policy({ action: "deny", from: [{ namespace: "blog" }] })],
    calls: { "web cart.shop": "200", "reader cart.shop": DENIED, "batch stock.shop": "200" },
  },
  {
    does: "a deny wins over an allow",
    fields: ["action"],
    policies: [
      policy({ action: "allow" }),
      policy({ action: "deny", from: [{ workload: "ns/shop/sa/web" }] }),
    ],
    calls: { "web cart.shop": DENIED, "reader cart.shop": "200" },
  },
  {
    does: "one of several allows is enough",
    fields: ["action"],
    policies: [
      policy({ action: "allow", from: [{ namespace: "blog" }] }),
      policy({ action: "allow", from: [{ workload: "ns/shop/sa/web" }] }),
    ],
    calls: { "web cart.shop": "200", "reader cart.shop": "200", "batch stock.shop": DENIED },
  },
  {
    does: "an allow for nobody is a namespace's default deny",
    fields: ["from[].workload"],
    policies: [policy({ action: "allow", from: [] })],
    calls: { "web cart.shop": DENIED, "reader cart.shop": DENIED, "web stock.shop": DENIED },
  },
  {
    does: "a source fits callers of its cluster only",
    fields: ["from[].cluster"],
    policies: [policy({ action: "allow", from: [{ cluster: "west", namespace: "shop" }] })],
    calls: { "web cart.shop": "200", "reader cart.shop": DENIED },
  },
  {
    does: "a source of another cluster fits nobody of this one",
    fields: ["from[].cluster"],
    policies: [policy({ action: "allow", from: [{ cluster: "east" }] })],
    calls: { "web cart.shop": DENIED },
  },
  {
    does: "workload and namespace must both fit",
    fields: ["from[].workload", "from[].namespace"],
    policies: [policy({ action: "allow", from: [{ workload: "ns/shop/sa/web", namespace: "blog" }] })],
    calls: { "web cart.shop": DENIED, "reader cart.shop": DENIED },
  },
  {
    does: "targets leave the namespace's other services alone",
    fields: ["targetRefs[].kind", "targetRefs[].name"],
    policies: [policy({ action: "deny", targetRefs: [{ kind: "Service", name: "stock" }] })],
    calls: { "web cart.shop": "200", "web stock.shop": DENIED },
  },
  {
    does: "ports leave other ports alone",
    fields: ["to[].ports[]"],
    policies: [policy({ action: "deny", to: [{ ports: [8080] }] })],
    calls: { "web cart.shop": "200" },
  },
  {
    does: "a named port is meant",
    fields: ["to[].ports[]"],
    policies: [policy({ action: "deny", to: [{ ports: [8080] }, { ports: [80] }] })],
    calls: { "web cart.shop": DENIED },
  },
  {
    does: "an allow of a method lets in that method only, on one connection",
    fields: ["to[].methods[]"],
    policies: [policy({ action: "allow", to: [{ methods: ["GET", "HEAD"] }] })],
    calls: {
      "web cart.shop": "200",
      "web cart.shop POST": DENIED,
      "web cart.shop GET /a": "200",
      "reader cart.shop PUT": DENIED,
      "reader cart.shop": "200",
    },
  },
  {
    does: "a deny of a path keeps out that path and what is below it",
    fields: ["to[].paths[].type", "to[].paths[].value"],
    policies: [policy({ action: "deny", to: [{ paths: [{ type: "PathPrefix", value: "/admin" }] }] })],
    calls: {
      "web cart.shop": "200",
      "web cart.shop GET /admin": DENIED,
      "web cart.shop GET /admin/users?a=1": DENIED,
      "web cart.shop POST /administration": "200",
    },
  },
  {
    does: "a path that can be read in two ways fits every deny and no allow",
    fields: ["to[].paths[].value"],
    policies: [
      policy({
        action: "deny",
        to: [{ paths: [{ type: "Exact", value: "/admin" }] }],
        from: [{ namespace: "blog" }],
      }),
      policy({ action: "allow", to: [{ paths: [{ type: "PathPrefix", value: "/" }] }] }),
      policy({ action: "allow", from: [{ namespace: "blog" }] }),
    ],
    calls: {
      "reader cart.shop GET /x/%2e%2e/admin": DENIED,
      "reader cart.shop GET //admin": DENIED,
      "reader cart.shop GET /users": "200",
      "web cart.shop GET /x/%2e%2e/admin": DENIED,
      "web cart.shop GET /x": "200",
    },
  },
  {
    does: "an expression is about the whole path",
    fields: ["to[].paths[].type", "to[].paths[].value"],
    policies: [
      policy({ action: "allow", to: [{ paths: [{ type: "RegularExpression", value: "/v[0-9]+/.*" }] }] }),
    ],
    calls: {
      "web cart.shop GET /v1/a?b=c": "200",
      "web cart.shop GET /v1": DENIED,
      "web cart.shop GET /a/v1/b": DENIED,
    },
  },
  {
    does: "method, path and port of one target must all fit, and one target is enough",
    fields: ["to[].methods[]", "to[].paths[].value", "to[].ports[]"],
    policies: [
      policy({
        action: "allow",
        to: [
          { ports: [80], methods: ["GET"], paths: [{ type: "Exact", value: "/a" }] },
          { ports: [80], methods: ["POST"], paths: [{ type: "Exact", value: "/b" }] },
          { ports: [8080] },
        ],
      }),
    ],
    calls: {
      "web cart.shop GET /a": "200",
      "web cart.shop POST /b": "200",
      "web cart.shop POST /a": DENIED,
      "web cart.shop GET /b": DENIED,
    },
  },
  {
    does: "its own cluster's callers are judged alike",
    fields: ["to[].methods[]"],
    policies: [
      policy({ action: "deny", to: [{ methods: ["POST"] }] }),
      policy({ action: "deny", to: [{ methods: ["POST"] }] }, { cluster: "west" }),
    ],
    calls: { "web everywhere.shop POST": DENIED, "web everywhere.shop GET": "200" },
  },
  {
    does: "a policy about everything needs no look at requests",
    fields: ["to[].methods[]"],
    policies: [
      policy({ action: "allow" }),
      policy({ action: "allow", to: [{ methods: ["GET"] }], from: [{ namespace: "blog" }] }),
    ],
    calls: { "web cart.shop POST": "200", "reader cart.shop POST": "200" },
  },
  {
    does: "an observing policy about methods lets every method pass",
    fields: ["mode", "to[].methods[]"],
    policies: [policy({ action: "deny", to: [{ methods: ["POST"] }], mode: "observe" })],
    calls: { "web cart.shop POST": "200", "web cart.shop": "200" },
  },
  {
    does: "an observing policy lets everybody in",
    fields: ["mode"],
    policies: [policy({ action: "allow", from: [], mode: "observe" })],
    calls: { "web cart.shop": "200", "reader cart.shop": "200" },
  },
  {
    does: "an observing allow does not widen an enforced one",
    fields: ["mode"],
    policies: [
      policy({ action: "allow", from: [{ namespace: "blog" }] }),
      policy({ action: "allow", mode: "observe" }),
    ],
    calls: { "web cart.shop": DENIED, "reader cart.shop": "200" },
  },
  {
    does: "another namespace's policy is about its own services",
    fields: ["action"],
    policies: [policy({ action: "deny" }, { namespace: "blog" })],
    calls: { "web cart.shop": "200" },
  },
  {
    does: "a consumer's policy is about its own services, not about what it imports",
    fields: ["action"],
    policies: [policy({ action: "deny" }, { cluster: "west" })],
    calls: { "web cart.shop": "200" },
  },
];

const WORLDS: readonly (readonly [string, { readonly agents: boolean; readonly protocol: Protocol }])[] = [
  ["by HTTP/1.1, with agents", { agents: true, protocol: "HTTP/1.1" }],
  ["by HTTP/2, with agents", { agents: true, protocol: "HTTP/2" }],
  ["by HTTP/1.1, gateways alone", { agents: false, protocol: "HTTP/1.1" }],
];

describe.each(WORLDS)("every field of an AuthorizationPolicy, between two clusters, %s", (_name, options) => {
  beforeAll(async () => {
    world = await startTrafficWorld(options);
  }, 30_000);
  afterAll(() => world.stop());
  beforeEach(() => void world.route());

  for (const { does, fields, policies, calls } of ROWS) {
    it(`${does}: ${fields.join(", ")}`, async () => {
      world.route(...policies);
      for (const [who, answer] of Object.entries(calls)) {
        const [caller, service, method, path] = who.split(" ") as [Caller, string, string?, string?];
        expect(await call(caller, service, method, path), who).toBe(answer);
      }
    });
  }

  it("counts the requests that an observing policy would have refused, and no other", async () => {
    // Connections from before are not looked at: these are gone.
    world.route(policy({ action: "deny" }));
    expect(await call("web")).toBe(DENIED);
    world.route(policy({ action: "deny", to: [{ methods: ["POST"] }], mode: "observe" }));
    const counted = (): number => {
      const metrics = world.member(options.agents ? "east agent" : "east gateway").proxy.metrics();
      const lines = metrics.split("\n").filter((line) => line.startsWith(`${OBSERVED}{`));
      return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
    };
    const before = counted();
    for (const method of ["GET", "POST", "GET", "POST", "POST"])
      expect(await call("web", "cart.shop", method)).toBe("200");
    expect(counted() - before).toBe(3);
  });

  it("judges the requests of connections from before, soon after a policy begins to look at them", async () => {
    expect(await call("web", "cart.shop", "GET")).toBe("200");
    world.route(policy({ action: "deny", to: [{ methods: ["POST"] }] }));
    // A connection is told to be used no more: no request fails that may go on.
    for (let round = 0; round < 20; round++) expect(await call("web", "cart.shop", "GET")).toBe("200");
    expect(await call("web", "cart.shop", "POST")).toBe(DENIED);
  });

  it("asks no agent and no client for the body of a request that it refuses", async () => {
    world.route(policy({ action: "allow", to: [{ methods: ["GET"] }] }));
    for (let round = 0; round < 5; round++) {
      expect(await call("web", "cart.shop", "POST")).toBe(DENIED);
      expect(await call("web", "cart.shop", "GET")).toBe("200");
    }
  });
});

describe("an AuthorizationPolicy", () => {
  beforeAll(async () => {
    world = await startTrafficWorld();
  }, 30_000);
  afterAll(() => world.stop());
  beforeEach(() => void world.route());

  it("has a row", () => {
    const covered = new Set(ROWS.flatMap(({ fields }) => fields));
    expect([...covered].sort()).toEqual(fieldsOf(authorizationPolicySpec));
  });

  it("counts whom an observing policy would have kept out, at the service's own gateway and agent", async () => {
    // Streams are judged and counted when they open, and again when rules change: those from before must be gone.
    world.route(policy({ action: "deny", from: [{ namespace: "blog" }] }));
    expect(await call("reader")).toBe(DENIED);
    world.route(policy({ action: "deny", from: [{ namespace: "blog" }], mode: "observe" }));
    expect(await call("reader")).toBe("200");
    for (const member of ["east gateway", "east agent"]) {
      const metrics = world.member(member).proxy.metrics().split("\n");
      const counted = metrics.filter(
        (line) => line.startsWith(`${OBSERVED}{`) && line.includes("blog/sa/reader"),
      );
      expect(counted.length, member).toBeGreaterThan(0);
    }
  });

  it("cuts a connection that a new policy forbids, and lets the next one in when it is gone", async () => {
    world.route();
    expect(await call("web")).toBe("200");
    world.route(policy({ action: "deny" }));
    expect(await call("web")).toBe(DENIED);
    world.route();
    expect(await call("web")).toBe("200");
  });

  it("says whether what it is about is there", () => {
    const of = (name: string) => policy({ action: "deny", targetRefs: [{ kind: "Service", name }] });
    expect(world.route(of("cart"), of("nothing"), policy({ action: "deny" }))).toEqual([
      "Ready True Ready",
      "Ready False NotExported",
      "Ready True Ready",
    ]);
  });

  it.each([
    ["an empty source", { action: "deny", from: [{}] }, "spec.from[0]"],
    ["another action", { action: "audit" }, "spec.action"],
    ["no action", {}, "spec.action"],
    ["a port that is none", { action: "deny", to: [{ ports: [0] }] }, "spec.to[0].ports[0]"],
    ["an empty target", { action: "deny", to: [{}] }, "spec.to[0]"],
    ["a method in small letters", { action: "deny", to: [{ methods: ["get"] }] }, "spec.to[0].methods[0]"],
    [
      "an expression that takes its time",
      { action: "deny", to: [{ paths: [{ type: "RegularExpression", value: "/(?!a)" }] }] },
      "spec.to[0].paths[0].value",
    ],
    [
      "a path that is no path",
      { action: "deny", to: [{ paths: [{ type: "Exact", value: "a//b" }] }] },
      "spec.to[0].paths[0].value",
    ],
    ["no ports", { action: "deny", to: [{ ports: [] }] }, "spec.to[0].ports"],
    [
      "an import as target",
      { action: "deny", targetRefs: [{ kind: "ServiceImport", name: "a" }] },
      "spec.targetRefs[0].kind",
    ],
    [
      "a target twice",
      {
        action: "deny",
        targetRefs: [
          { kind: "Service", name: "a" },
          { kind: "Service", name: "a" },
        ],
      },
      "spec.targetRefs[1]",
    ],
    ["a field that it does not have", { action: "deny", to: [{ ports: [80], hosts: ["a"] }] }, "spec.to[0]"],
    ["a pattern that is none", { action: "deny", from: [{ workload: "shop/web" }] }, "spec.from[0].workload"],
  ])("is refused with %s, at its place", (_what, spec, path) => {
    const metadata = { cluster: "east", namespace: "shop", name: "bad" };
    const decoded = decodeAppliedResource({
      apiVersion: "isthmus.dev/v1alpha1",
      kind: "AuthorizationPolicy",
      metadata,
      spec,
    });
    expect(decoded.ok ? [] : decoded.error.map((issue) => issue.path).join(" ")).toContain(path);
  });
});
