import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { AuthorizationPolicySpec } from "../../federation/model/authorization-policy.ts";
import type { AuthorizationPolicyResource } from "../../federation/model/resource.ts";
import { authorizationPolicySpec } from "../../federation/model/wire/authorization-policy.ts";
import { decodeAppliedResource } from "../../federation/model/wire/resource.ts";
import { type Ask, startTrafficWorld, type TrafficWorld } from "../fakes/traffic-world.ts";
import { fieldsOf } from "./fields-of.ts";

/**
 * Who gets through, over four hops, with the registry's own compiler in front: east's policies about its cart.shop and
 * stock.shop, called by web and batch of shop and reader of blog in west. The export lets web and reader call cart, and all
 * call stock.
 */
let world: TrafficWorld;
beforeAll(async () => {
  world = await startTrafficWorld();
}, 30_000);
afterAll(() => world.stop());
beforeEach(() => void world.route());

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

const call = async (caller: NonNullable<Ask["caller"]>, service = "cart.shop"): Promise<string> => {
  const { status, headers } = await world.ask("/", { caller, service });
  return status === 200 ? "200" : `${status} ${String(headers["isthmus-code"])}`;
};
const DENIED = "403 ISTH-2006";

interface Row {
  readonly does: string;
  readonly fields: readonly string[];
  readonly policies: readonly AuthorizationPolicyResource[];
  /** `web cart.shop` → what it gets. */
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

describe("every field of an AuthorizationPolicy, between two clusters", () => {
  for (const { does, fields, policies, calls } of ROWS) {
    it(`${does}: ${fields.join(", ")}`, async () => {
      world.route(...policies);
      for (const [who, answer] of Object.entries(calls)) {
        const [caller, service] = who.split(" ") as ["web" | "batch" | "reader", string];
        expect(await call(caller, service), who).toBe(answer);
      }
    });
  }

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
        (line) =>
          line.startsWith("isthmus_authorization_observed_denials_total{") && line.includes("blog/sa/reader"),
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
    [
      "a field that it does not have",
      { action: "deny", to: [{ ports: [80], methods: ["GET"] }] },
      "spec.to[0]",
    ],
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
