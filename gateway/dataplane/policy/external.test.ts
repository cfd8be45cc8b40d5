import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ExternalTarget } from "../../../federation/model/egress-policy.ts";
import { matchHostname, parseDestination } from "../../../federation/model/external-host.ts";
import { cidrHas, ipv4, parseCidr, parseIp } from "../../../federation/model/ip-address.ts";
import type { SnapshotEgressPolicy } from "../../../federation/model/snapshot.ts";
import { matchWorkload } from "../../../federation/model/workload-pattern.ts";
import { id } from "../../../test/fakes/rules.ts";
import { unwrap } from "../../../test/fakes/pki.ts";
import { compileEgress, hasWaysOut } from "./egress-table.ts";
import { decideExternal, selectRule } from "./external.ts";
import { guardedRanges, guardOf } from "./guarded-ranges.ts";

const WEB = id("west/shop/web");
const BATCH = id("west/shop/batch");

const policy = (
  name: string,
  external: readonly ExternalTarget[],
  change: Partial<SnapshotEgressPolicy> = {},
): SnapshotEgressPolicy => ({ name, mode: "enforce", from: ["ns/shop/sa/web"], to: [], external, ...change });

const decide = (policies: readonly SnapshotEgressPolicy[], destination: string, caller = WEB) =>
  decideExternal(compileEgress({ policies }), caller, unwrap(parseDestination(destination)));
const winner = (policies: readonly SnapshotEgressPolicy[], destination: string, caller = WEB) => {
  const decided = decide(policies, destination, caller);
  return decided.kind === "denied" ? decided.problem.name : (decided.rule?.policy ?? "nobody");
};

const API = { hostname: "api.example.com" };

describe("the way out", () => {
  it.each([
    ["an exact name", [policy("p", [API])], "api.example.com:443", "p"],
    ["another port", [policy("p", [API])], "api.example.com:80", "egress_host_denied"],
    ["a port that is named", [policy("p", [{ ...API, ports: [80] }])], "api.example.com:80", "p"],
    ["another name", [policy("p", [API])], "api.example.org:443", "egress_host_denied"],
    ["a name below a wildcard", [policy("p", [{ hostname: "*.example.com" }])], "a.b.example.com:443", "p"],
    [
      "the wildcard's own name",
      [policy("p", [{ hostname: "*.example.com" }])],
      "example.com:443",
      "egress_host_denied",
    ],
    ["an address of a range", [policy("p", [{ cidr: "192.0.2.0/24" }])], "192.0.2.9:443", "p"],
    ["the same in hexadecimal", [policy("p", [{ cidr: "192.0.2.0/24" }])], "0xc0000209:443", "p"],
    ["the same mapped into IPv6", [policy("p", [{ cidr: "192.0.2.0/24" }])], "[::ffff:192.0.2.9]:443", "p"],
    [
      "an address beside it",
      [policy("p", [{ cidr: "192.0.2.0/24" }])],
      "192.0.3.9:443",
      "egress_host_denied",
    ],
    [
      "a policy for another caller",
      [policy("p", [API], { from: ["ns/shop/sa/batch"] })],
      "api.example.com:443",
      "egress_host_denied",
    ],
    [
      "a policy for the namespace",
      [policy("p", [API], { from: ["ns/shop/sa/*"] })],
      "api.example.com:443",
      "p",
    ],
    ["a policy for everyone", [policy("p", [API], { from: ["*"] })], "api.example.com:443", "p"],
    ["no policy", [], "api.example.com:443", "nobody"],
    ["one that observes only", [policy("p", [API], { mode: "observe" })], "api.example.com:443", "p"],
    [
      "one that observes beside one that enforces",
      [policy("o", [API], { mode: "observe" }), policy("e", [])],
      "api.example.com:443",
      "egress_host_denied",
    ],
  ] as const)("%s", (_what, policies, destination, expected) => {
    expect(winner(policies, destination)).toBe(expected);
  });

  it("tells what an observing cluster would deny", () => {
    const policies = [policy("p", [API], { mode: "observe" })];
    expect(decide(policies, "api.example.com:443")).toMatchObject({ kind: "reach", wouldDeny: false });
    expect(decide(policies, "other.example.com:443")).toMatchObject({ kind: "reach", wouldDeny: true });
  });

  it.each([
    ["the higher priority", policy("a", [API]), policy("b", [API], { priority: 1 }), "b"],
    ["the exact name", policy("a", [{ hostname: "*.example.com" }]), policy("b", [API]), "b"],
    [
      "the longer wildcard",
      policy("a", [{ hostname: "*.com.example" }]),
      policy("b", [{ hostname: "*.api.com.example" }]),
      "b",
    ],
    ["the narrower caller", policy("a", [API], { from: ["*"] }), policy("b", [API]), "b"],
    ["the first name", policy("a", [API]), policy("b", [API]), "a"],
  ])("lets %s win, in whatever order they come", (_what, a, b, expected) => {
    const destination =
      expected === "b" && a.external?.[0]?.hostname === "*.com.example"
        ? "x.api.com.example:443"
        : "api.example.com:443";
    expect(winner([a, b], destination)).toBe(expected);
    expect(winner([b, a], destination)).toBe(expected);
  });

  it("decides as a plain search through all rules does", () => {
    const label = fc.constantFrom("a", "b", "c");
    const name = fc.array(label, { minLength: 2, maxLength: 4 }).map((labels) => `${labels.join(".")}.test`);
    const target = fc.oneof(
      name.map((hostname): ExternalTarget => ({ hostname })),
      name.map((suffix): ExternalTarget => ({ hostname: `*.${suffix}` })),
      fc.tuple(fc.nat(3), fc.constantFrom(8, 16, 30, 32)).map(
        ([low, prefix]): ExternalTarget => ({
          cidr: `10.0.0.${prefix === 32 ? low : 0}/${prefix}`,
        }),
      ),
    );
    const from = fc.constantFrom(
      "*",
      "ns/shop/sa/*",
      "ns/*/sa/web",
      "ns/shop/sa/web",
      "ns/shop/sa/batch",
      "ns/*/sa/*",
    );
    const policies = fc.array(fc.tuple(fc.array(target, { maxLength: 4 }), from), {
      minLength: 1,
      maxLength: 8,
    });
    const destination = fc
      .oneof(
        name,
        fc.nat(5).map((low) => `10.0.0.${low}`),
      )
      .map((host) => `${host}:443`);
    fc.assert(
      fc.property(policies, destination, fc.constantFrom(WEB, BATCH), (list, text, caller) => {
        const made = list.map(([external, pattern], index) =>
          policy(`p${index}`, external, { from: [pattern] }),
        );
        const { host } = unwrap(parseDestination(text));
        const fits = ({ hostname, cidr }: ExternalTarget): boolean =>
          host.kind === "name"
            ? hostname !== undefined && matchHostname(hostname, host.name)
            : hostname === undefined && cidrHas(unwrap(parseCidr(cidr ?? "")), host.address);
        const expected = made.some(
          ({ from: [pattern = ""], external = [] }) => matchWorkload(pattern, caller) && external.some(fits),
        );
        expect(decide(made, text, caller).kind).toBe(expected ? "reach" : "denied");
      }),
      { numRuns: 500 },
    );
  });

  it("is open to whom a policy speaks of, and to nobody else", () => {
    const table = compileEgress({ policies: [policy("p", [API])] });
    expect(hasWaysOut(table, WEB)).toBe(true);
    expect(hasWaysOut(table, BATCH)).toBe(false);
    expect(hasWaysOut(compileEgress({ policies: [] }), WEB)).toBe(false);
    const services = policy("p", []);
    const { external: _, ...only } = services;
    expect(
      hasWaysOut(compileEgress({ policies: [{ ...only, to: [{ namespace: "a", name: "b" }] }] }), WEB),
    ).toBe(false);
  });
});

describe("a request", () => {
  const reach = (http: ExternalTarget["http"], mode: "observe" | "enforce" = "enforce") => {
    const decided = decide(
      [policy("p", [{ ...API, ...(http === undefined ? {} : { http }) }], { mode })],
      "api.example.com:443",
    );
    if (decided.kind !== "reach") throw new Error(decided.problem.detail);
    return decided;
  };
  const v1 = { methods: ["GET"], paths: [{ type: "PathPrefix", value: "/v1" } as const] };

  it.each([
    ["GET", "/v1", "rule"],
    ["GET", "/v1/charges?x=/../", "rule"],
    ["POST", "/v1", "denied"],
    ["GET", "/v10", "denied"],
    ["GET", "/v1/../admin", "denied"],
    ["GET", "/v1/%2e%2e/admin", "denied"],
    ["GET", "/v1//admin", "denied"],
    ["GET", "/v1/..;/admin", "denied"],
    ["GET", "/v1%2f..%2fadmin", "denied"],
    ["GET", "/V1", "denied"],
  ])("%s %s: %s", (method, target, kind) => {
    expect(selectRule(reach(v1), method, target).kind).toBe(kind);
  });

  it("falls to the next rule that permits it", () => {
    const policies = [
      policy("reads", [{ ...API, http: { methods: ["GET"] } }], { priority: 1 }),
      policy("writes", [{ ...API, http: { methods: ["POST"] } }]),
    ];
    const decided = decide(policies, "api.example.com:443");
    if (decided.kind !== "reach") throw new Error("denied");
    expect(selectRule(decided, "POST", "/")).toMatchObject({ kind: "rule", rule: { policy: "writes" } });
    expect(selectRule(decided, "PUT", "/")).toMatchObject({
      kind: "denied",
      problem: { name: "egress_request_denied" },
    });
  });

  it("is only predicted while its policy observes", () => {
    expect(selectRule(reach(v1, "observe"), "POST", "/")).toMatchObject({ kind: "rule", wouldDeny: true });
  });
});

describe("the guard", () => {
  const RANGES = guardedRanges([unwrap(parseCidr("44.0.0.0/16"))]);
  const guarded = (text: string, ...named: string[]) => {
    const address = parseIp(text);
    if (address === undefined) throw new Error(text);
    return guardOf(
      RANGES,
      address,
      named.map((cidr) => unwrap(parseCidr(cidr))),
    )?.what;
  };

  it.each([
    "127.0.0.1",
    "::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "10.1.2.3",
    "172.31.255.255",
    "192.168.0.1",
    "169.254.169.254",
    "fd00:ec2::254",
    "fe80::1",
    "fc00::1",
    "0.0.0.0",
    "::",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "2002:7f00:1::",
    "2001:0:1::",
    "ff02::1",
    "::127.0.0.1",
    "168.63.129.16",
    "44.0.1.1",
  ])("refuses %s", (text) => expect(guarded(text)).toBeDefined());

  it.each(["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101", "172.32.0.1", "44.1.0.1"])(
    "lets %s pass",
    (text) => expect(guarded(text)).toBeUndefined(),
  );

  it("opens a range that a policy names from within, and nothing that it merely covers", () => {
    expect(guarded("10.1.2.3", "10.1.0.0/16")).toBeUndefined();
    expect(guarded("10.1.2.3", "10.0.0.0/8")).toBeUndefined();
    expect(guarded("10.1.2.3", "0.0.0.0/0")).toBe("private");
    expect(guarded("10.2.2.3", "10.1.0.0/16")).toBe("private");
    expect(guarded("169.254.169.254", "169.254.0.0/16")).toBe("cloud metadata");
    expect(guarded("169.254.169.254", "169.254.169.254/32")).toBeUndefined();
    expect(guarded("64:ff9b::a01:203", "10.1.0.0/16")).toBeUndefined();
  });

  it("never calls an address by one family's rules only because it came in the other's notation", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 0xffff_ffffn }), (value) => {
        const mapped = parseIp(`::ffff:${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`);
        expect(mapped).toEqual(ipv4(value));
      }),
    );
  });
});
