import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { authorizationPolicySpec } from "../../../federation/model/wire/authorization-policy.ts";
import type { KubeObject } from "../api/object.ts";
import { destinationAccount, translateTarget } from "./smi-access.ts";

const object = (name: string, spec: unknown): KubeObject => ({ metadata: { namespace: "shop", name }, spec });
const target = (spec: object): KubeObject => object("callers", spec);

const CART = { name: "cart", ports: [{ port: 80, podPorts: [8080] }], isShared: false };
const ADMIN = { name: "admin", ports: [{ port: 90, podPorts: [9090] }], isShared: true };
const DESTINATION = { kind: "ServiceAccount", name: "cart", namespace: "shop" };
const WEB = { kind: "ServiceAccount", name: "web", namespace: "shop" };
const GROUPS = new Map([
  [
    "api",
    object("api", {
      matches: [
        { name: "read", pathRegex: "/items/.*", methods: ["get", "HEAD"] },
        { name: "all", pathRegex: ".*", methods: ["*"] },
        { name: "by-header", headers: [{ "x-canary": "yes" }] },
        { name: "broken", pathRegex: "(" },
      ],
    }),
  ],
]);
const TCP = new Map([
  ["one", object("one", { matches: { ports: [8080] } })],
  ["any", object("any", {})],
]);
const view = { groups: GROUPS, tcpRoutes: TCP, services: [CART] };
const translate = (rules: readonly object[], sources: readonly object[] = [WEB], services = [CART]) =>
  translateTarget(target({ destination: DESTINATION, sources, rules }), { ...view, services });

describe("a TrafficTarget", () => {
  it("becomes an allow policy for each Service of its account", () => {
    const rules = [{ kind: "HTTPRouteGroup", name: "api", matches: ["read"] }];
    const { policies, notes } = translate(rules, [WEB], [CART, ADMIN]);
    expect(policies.map(({ service }) => service)).toEqual(["cart", "admin"]);
    expect(policies[0]?.spec).toEqual({
      targetRefs: [{ kind: "Service", name: "cart" }],
      action: "allow",
      from: [{ workload: "ns/shop/sa/web" }],
      to: [{ paths: [{ type: "RegularExpression", value: "/items/.*" }], methods: ["GET", "HEAD"] }],
    });
    expect(notes.map(({ reason }) => reason)).toEqual(["MixedAccounts"]);
  });

  it("speaks of pods' ports where a policy speaks of a Service's", () => {
    expect(translate([{ kind: "TCPRoute", name: "one" }]).policies[0]?.spec.to).toEqual([{ ports: [80] }]);
    expect(translate([{ kind: "TCPRoute", name: "any" }]).policies[0]?.spec.to).toBeUndefined();
  });

  it.each([
    ["no rules", [], []],
    ["a route that is not there", [{ kind: "TCPRoute", name: "gone" }], ["RouteMissing"]],
    ["a kind that is no route", [{ kind: "UDPRoute", name: "one" }], ["RouteMissing"]],
    [
      "a match that is not there",
      [{ kind: "HTTPRouteGroup", name: "api", matches: ["gone"] }],
      ["RouteMissing"],
    ],
    ["headers", [{ kind: "HTTPRouteGroup", name: "api", matches: ["by-header"] }], ["MatchUnsupported"]],
    ["a broken path", [{ kind: "HTTPRouteGroup", name: "api", matches: ["broken"] }], ["MatchUnsupported"]],
  ])("with %s lets nobody in", (_what, rules, reasons) => {
    const { policies, notes } = translate(rules);
    expect(policies.map(({ spec }) => spec.from)).toEqual([[]]);
    expect(notes.map(({ reason }) => reason)).toEqual(reasons);
  });

  it("is about nothing where its destination is in another namespace", () => {
    const foreign = target({
      destination: { ...DESTINATION, namespace: "audit" },
      sources: [WEB],
      rules: [],
    });
    expect(destinationAccount(foreign)).toBeUndefined();
    expect(translateTarget(foreign, view)).toMatchObject({
      policies: [],
      notes: [{ reason: "DestinationUnsupported" }],
    });
  });

  it("never says what a policy may not say, whatever it says itself, and lets in only whom it names", () => {
    const text = fc.oneof(fc.constantFrom("cart", "web", "shop", "api", "one", "*", ""), fc.string());
    const ref = fc.record({ kind: fc.constantFrom("ServiceAccount", "User"), name: text, namespace: text });
    const rule = fc.record({
      kind: fc.constantFrom("TCPRoute", "HTTPRouteGroup", "Other"),
      name: text,
      matches: fc.oneof(fc.array(fc.oneof(fc.constantFrom("read", "all"), text)), fc.anything()),
    });
    fc.assert(
      fc.property(fc.array(ref, { maxLength: 300 }), fc.array(rule, { maxLength: 20 }), (sources, rules) => {
        for (const { spec } of translate(rules, sources).policies) {
          expect(authorizationPolicySpec.safeParse(spec).error).toBeUndefined();
          for (const { workload = "" } of spec.from ?? [])
            expect(sources.map(({ name, namespace }) => `ns/${namespace}/sa/${name}`)).toContain(workload);
        }
      }),
      { seed: 1, numRuns: 200 },
    );
  });
});
