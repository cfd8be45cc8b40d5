import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AuthorizationTarget } from "../../../federation/model/authorization-policy.ts";
import type { SnapshotAuthorization } from "../../../federation/model/snapshot.ts";
import { type TrustDomain, workloadSpiffeId } from "../../../federation/model/spiffe-id.ts";
import { AuthorizationTable } from "./authorization-table.ts";

const WEB = workloadSpiffeId("west.test.mesh" as TrustDomain, "shop", "web");
const CART = { namespace: "shop", name: "cart" };

const made = (
  name: string,
  spec: Partial<SnapshotAuthorization> & Pick<SnapshotAuthorization, "action">,
): SnapshotAuthorization => ({
  name,
  namespace: "shop",
  services: [],
  ports: [],
  mode: "enforce",
  ...spec,
});

const ask = (policies: readonly SnapshotAuthorization[], method: string, path: string) =>
  new AuthorizationTable(policies).judgeRequest(CART, 80, WEB, { method, path }).denied;

const target = fc.record<AuthorizationTarget>(
  {
    ports: fc.constantFrom([80], [8080]),
    methods: fc.constantFrom(["GET"], ["POST"], ["GET", "PUT"]),
    paths: fc.constantFrom<NonNullable<AuthorizationTarget["paths"]>>(
      [{ type: "Exact", value: "/a" }],
      [{ type: "PathPrefix", value: "/a" }],
      [{ type: "RegularExpression", value: "/[ab].*" }],
    ),
  },
  { requiredKeys: [] },
);
const policies = fc.array(
  fc
    .record({
      action: fc.constantFrom("allow" as const, "deny" as const),
      mode: fc.constantFrom("observe" as const, "enforce" as const),
      isMine: fc.boolean(),
      to: fc.option(fc.array(target, { minLength: 1, maxLength: 3 }), { nil: undefined }),
    })
    .map(({ action, mode, isMine, to }) =>
      made("p", {
        action,
        mode,
        ...(isMine ? {} : { from: [{ workload: "ns/blog/sa/reader" as const }] }),
        ...(to === undefined ? {} : { to }),
      }),
    ),
  { maxLength: 5 },
);
const request = fc.option(
  fc.record({
    method: fc.constantFrom("GET", "POST", "DELETE"),
    path: fc.constantFrom("/", "/a", "/a/b", "/ab", "//a", "/b/../a", `/a${"x".repeat(5_000)}`),
  }),
);

describe("AuthorizationPolicies about requests", () => {
  it("are not asked for each request where the connection decides it", () => {
    fc.assert(
      fc.property(policies, request, (given, one) => {
        const table = new AuthorizationTable(given);
        const whole = table.judge(CART, 80, WEB);
        const single = table.judgeRequest(CART, 80, WEB, one);
        if (whole.denied !== undefined) expect(single.denied).toBeDefined();
        else if (whole.requests !== "enforce") expect(single.denied).toBeUndefined();
        if (whole.denied === undefined && whole.requests === "none")
          expect(single.wouldDeny).toBe(whole.wouldDeny);
      }),
      { seed: 6, numRuns: 500 },
    );
  });

  it("let no request in that fits a deny, whatever is allowed beside it", () => {
    fc.assert(
      fc.property(policies, request, (given, one) => {
        const denies = made("deny", { action: "deny", to: [{ methods: ["DELETE"] }] });
        const judged = new AuthorizationTable([...given, denies]).judgeRequest(CART, 80, WEB, one);
        if (one === null || one.method === "DELETE") expect(judged.denied).toBeDefined();
      }),
      { seed: 6, numRuns: 200 },
    );
  });

  it.each([
    ["Exact", "/a", { "/a": true, "/a/": false, "/a/b": false }],
    ["PathPrefix", "/a", { "/a": true, "/a/": true, "/a/b": true, "/ab": false }],
    ["PathPrefix", "/a/", { "/a": true, "/a/b": true }],
    ["PathPrefix", "/", { "/": true, "/x": true, "*": false }],
    ["RegularExpression", "/a[0-9]", { "/a1": true, "/a1/b": false, "/x/a1": false }],
  ] as const)("fit a path by %s %s", (type, value, rows) => {
    const allow = made("allow", { action: "allow", to: [{ paths: [{ type, value }] }] });
    for (const [path, fits] of Object.entries(rows))
      expect(ask([allow], "GET", path) === undefined, path).toBe(fits);
  });

  it.each(["/x/../admin", "//admin", "/%2e%2e/admin", "/admin;x=1", `/admin/${"x".repeat(5_000)}`])(
    "neither allow nor let pass a path that is not clear: %s",
    (path) => {
      const to = [{ paths: [{ type: "RegularExpression" as const, value: "/.*" }] }];
      expect(ask([made("allow", { action: "allow", to })], "GET", path)).toMatch("none of 1");
      expect(ask([made("deny", { action: "deny", to })], "GET", path)).toMatch("deny denies");
    },
  );

  it("name policy, caller and request in their refusal, and no more than a line of it", () => {
    const deny = made("shop/no-post", { action: "deny", to: [{ methods: ["POST"] }] });
    expect(ask([deny], "POST", "/a")).toBe(`AuthorizationPolicy shop/no-post denies ${WEB.uri} POST /a`);
    expect(ask([deny], "POST", `/${"a".repeat(5_000)}`)?.length).toBeLessThan(400);
  });
});
