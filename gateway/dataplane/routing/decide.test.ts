import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CART, EAST, eastTables, id, importRule, WEST, westTables } from "../../../test/fakes/rules.ts";
import {
  decideEgress,
  decideInbound,
  decideIngress,
  decideSources,
  selectTunnel,
  type TunnelAsk,
  type TunnelTarget,
} from "./decide.ts";

const WEB = id("west/shop/web");
const BATCH = id("west/shop/batch");
const AUTHORITY = "cart.shop.svc.clusterset.local:80";

/** The only source, or the refusal. */
function decideEntry(...asked: Parameters<typeof decideSources>) {
  const sources = decideSources(...asked);
  if ("kind" in sources) return sources;
  const [only] = sources;
  if (only === undefined) throw new Error("no source");
  return only;
}

const refusal = (name: string) => ({ kind: "refuse", problem: { name } });

describe("decideEntry", () => {
  it("forwards a permitted caller to the owner, under the owner's name, with a permit for that caller", () => {
    expect(decideEntry(westTables(), WEB, CART, 80)).toMatchObject({
      kind: "forward",
      destination: EAST,
      authority: AUTHORITY,
      audience: "east.test.mesh/shop/cart",
      permit: { caller: WEB, wouldDeny: false },
    });
  });

  it.each([
    ["there is no snapshot yet", undefined, WEB, CART, 80, "snapshot_missing"],
    ["the service is not imported", westTables({ imports: [] }), WEB, CART, 80, "not_imported"],
    ["the service has no such port", westTables(), WEB, CART, 81, "no_route"],
    ["the owner does not permit the caller", westTables(), BATCH, CART, 80, "export_denied"],
    [
      "no egress policy lets the caller leave",
      westTables({
        egress: { policies: [{ name: "p", mode: "enforce", from: ["ns/shop/sa/batch"], to: [CART] }] },
      }),
      WEB,
      CART,
      80,
      "egress_denied",
    ],
  ] as const)("refuses when %s", (_when, tables, caller, service, port, name) => {
    expect(decideEntry(tables, caller, service, port)).toMatchObject(refusal(name));
  });

  it("tells the port before the permission, as one who may not call may still see what is there", () => {
    expect(decideEntry(westTables(), BATCH, CART, 81)).toMatchObject(refusal("no_route"));
  });
});

describe("selectTunnel", () => {
  const ask = (change: Partial<TunnelAsk> = {}): TunnelAsk => ({
    peer: id("east/isthmus-system/gateway"),
    authority: AUTHORITY,
    destination: undefined,
    ...change,
  });

  it("takes a gateway of another cluster in, with our own trust domain in the audience", () => {
    expect(selectTunnel(westTables(), ask())).toEqual({
      kind: "ingress",
      service: CART,
      port: 80,
      audience: "west.test.mesh/shop/cart",
    });
  });

  it("does not let an outside gateway choose another destination", () => {
    const target = selectTunnel(westTables(), ask({ destination: "north.test.mesh" }));
    expect(target).toMatchObject({ kind: "ingress", audience: "west.test.mesh/shop/cart" });
  });

  it("takes our own agent out, with the destination in the audience", () => {
    const own = ask({ peer: id("west/isthmus-system/agent"), destination: EAST });
    expect(selectTunnel(westTables(), own)).toEqual({
      kind: "egress",
      service: CART,
      port: 80,
      audience: "east.test.mesh/shop/cart",
    });
  });

  it.each([
    ["there is no snapshot yet", undefined, {}, "snapshot_missing"],
    ["the authority is an address", westTables(), { authority: "127.0.0.1:80" }, "no_route"],
    ["the authority has no port", westTables(), { authority: "cart.shop.svc.clusterset.local" }, "no_route"],
    ["the authority has port 0", westTables(), { authority: "cart.shop.svc.clusterset.local:0" }, "no_route"],
    ["the authority is empty", westTables(), { authority: "" }, "no_route"],
    ["our agent names no destination", westTables(), { peer: id("west/isthmus-system/agent") }, "no_route"],
    [
      "a gateway of our own cluster asks",
      westTables(),
      { peer: id("west/isthmus-system/gateway") },
      "peer_role",
    ],
    [
      "an agent of another cluster asks",
      westTables(),
      { peer: id("east/isthmus-system/agent") },
      "peer_role",
    ],
    ["a workload of our cluster asks", westTables(), { peer: WEB }, "peer_role"],
    ["a workload of another cluster asks", westTables(), { peer: id("east/shop/cart") }, "peer_role"],
  ] as const)("refuses when %s", (_when, tables, change, name) => {
    expect(selectTunnel(tables, ask(change))).toMatchObject(refusal(name));
  });
});

describe("decideEgress", () => {
  const target = (change: Partial<TunnelTarget> = {}): TunnelTarget => ({
    kind: "egress",
    service: CART,
    port: 80,
    audience: "east.test.mesh/shop/cart",
    ...change,
  });

  it("forwards a permitted caller of this cluster", () => {
    expect(decideEgress(westTables(), target(), WEB)).toMatchObject({
      kind: "forward",
      destination: EAST,
      authority: AUTHORITY,
    });
  });

  it.each([
    ["the caller is of another cluster", {}, id("east/shop/web"), "caller_token_invalid"],
    ["the audience is not imported", { audience: "north.test.mesh/shop/cart" }, WEB, "not_imported"],
    ["the service has no such port", { port: 81 }, WEB, "no_route"],
    ["the owner does not permit the caller", {}, BATCH, "export_denied"],
  ] as const)("refuses when %s", (_when, change, caller, name) => {
    expect(decideEgress(westTables(), target(change), caller)).toMatchObject(refusal(name));
  });

  it("permits by any of several local names of one service", () => {
    const basket = { namespace: "shop", name: "basket" };
    const policies = (to: { namespace: string; name: string }) => ({
      policies: [{ name: "p", mode: "enforce" as const, from: ["*"], to: [to] }],
    });
    for (const allowed of [CART, basket]) {
      const tables = westTables({ imports: [importRule(), importRule(basket)], egress: policies(allowed) });
      expect(decideEgress(tables, target(), WEB)).toMatchObject({ kind: "forward" });
    }
    const tables = westTables({
      imports: [importRule(), importRule(basket)],
      egress: policies({ namespace: "shop", name: "other" }),
    });
    expect(decideEgress(tables, target(), WEB)).toMatchObject(refusal("egress_denied"));
  });
});

describe("decideIngress", () => {
  const target: TunnelTarget = {
    kind: "ingress",
    service: CART,
    port: 80,
    audience: "east.test.mesh/shop/cart",
  };
  const gateway = id("west/isthmus-system/gateway");

  it("forwards a caller that the export names", () => {
    expect(decideIngress(eastTables(), target, WEB, gateway)).toMatchObject({
      kind: "forward",
      service: CART,
      port: 80,
      permit: { caller: WEB },
    });
  });

  it.each([
    [
      "the gateway speaks for a caller of another cluster",
      eastTables(),
      target,
      id("north/shop/web"),
      "caller_token_invalid",
    ],
    ["the service is not exported", eastTables({ exports: [] }), target, WEB, "not_exported"],
    ["the service has no such port", eastTables(), { ...target, port: 81 }, WEB, "no_route"],
    ["the export does not name the caller", eastTables(), target, BATCH, "export_denied"],
  ] as const)("refuses when %s", (_when, tables, to, caller, name) => {
    expect(decideIngress(tables, to, caller, gateway)).toMatchObject(refusal(name));
  });
});

describe("decideInbound", () => {
  const own = id("east/isthmus-system/gateway");

  it("forwards what the cluster's own gateway delivers for a caller that the export names", () => {
    expect(decideInbound(eastTables(), own, CART, 80, WEB)).toMatchObject({
      kind: "forward",
      permit: { caller: WEB },
    });
  });

  it.each([
    ["there is no snapshot yet", undefined, own, WEB, "snapshot_missing"],
    [
      "a gateway of another cluster delivers",
      eastTables(),
      id("west/isthmus-system/gateway"),
      WEB,
      "peer_role",
    ],
    ["an agent delivers", eastTables(), id("east/isthmus-system/agent"), WEB, "peer_role"],
    ["a workload delivers", eastTables(), id("east/shop/cart"), WEB, "peer_role"],
    ["the export does not name the caller", eastTables(), own, BATCH, "export_denied"],
    ["the caller's cluster is no consumer", eastTables(), own, id("north/shop/web"), "not_exported"],
  ] as const)("refuses when %s", (_when, tables, peer, caller, name) => {
    expect(decideInbound(tables, peer, CART, 80, caller)).toMatchObject(refusal(name));
  });
});

describe("all decisions together", () => {
  const caller = fc
    .tuple(
      fc.constantFrom("east", "west", "north"),
      fc.constantFrom("shop", "isthmus-system"),
      fc.constantFrom("web", "batch", "gateway", "agent"),
    )
    .map((parts) => id(parts.join("/")));

  it("never forward a caller that is not west's web, whoever speaks for it and wherever", () => {
    fc.assert(
      fc.property(caller, caller, fc.constantFrom(79, 80, 81), (who, peer, port) => {
        const west = westTables();
        const east = eastTables();
        const target: TunnelTarget = {
          kind: "ingress",
          service: CART,
          port,
          audience: "east.test.mesh/shop/cart",
        };
        const forwarded = [
          decideEntry(west, who, CART, port),
          decideEgress(west, { ...target, kind: "egress" }, who),
          decideIngress(east, target, who, peer),
          decideInbound(east, peer, CART, port, who),
        ].filter(({ kind }) => kind === "forward");
        if (forwarded.length > 0) expect([who.uri, port]).toEqual([WEB.uri, 80]);
        expect(
          forwarded.every((decision) => decision.kind === "forward" && decision.permit.caller === who),
        ).toBe(true);
      }),
    );
  });

  it("never let an outside peer go out", () => {
    fc.assert(
      fc.property(
        caller,
        fc.option(fc.constantFrom("east.test.mesh", "north.test.mesh"), { nil: undefined }),
        (peer, destination) => {
          const target = selectTunnel(westTables(), { peer, authority: AUTHORITY, destination });
          if (target.kind === "egress") expect(peer.trustDomain).toBe(WEST);
          if (target.kind === "ingress") expect(peer.trustDomain).not.toBe(WEST);
        },
      ),
    );
  });
});
