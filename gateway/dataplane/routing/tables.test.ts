import { describe, expect, it } from "vitest";
import {
  CART,
  EAST,
  exportRule,
  id,
  importRule,
  eastTables,
  WEST,
  westTables,
} from "../../../test/fakes/rules.ts";
import { compileEntry } from "./decide-request.ts";
import { importOf } from "./tables.ts";

describe("compiled tables", () => {
  it("find an import by its local name", () => {
    expect(importOf(westTables(), CART)).toMatchObject({
      service: CART,
      sources: [
        { audience: "east.test.mesh/shop/cart", host: "cart.shop.svc.clusterset.local", local: false },
      ],
      ports: new Map([[80, { port: 80, protocol: "http" }]]),
    });
  });

  it("find nothing by the owner's name of an alias, and the owner's host behind the alias", () => {
    const tables = westTables({ imports: [importRule({ namespace: "mine", name: "basket" })] });
    expect(importOf(tables, CART)).toBeUndefined();
    const [source] = importOf(tables, { namespace: "mine", name: "basket" })?.sources ?? [];
    expect(source?.host).toBe("cart.shop.svc.clusterset.local");
  });

  it("find all aliases of one service by its audience", () => {
    const tables = westTables({ imports: [importRule(), importRule({ name: "basket" })] });
    expect(tables.importsByAudience.get("east.test.mesh/shop/cart")?.map(({ rule }) => rule.name)).toEqual([
      "cart",
      "basket",
    ]);
  });

  it("keep services of one name in different namespaces and of different owners apart", () => {
    const other = importRule({ namespace: "blog", from: { ...CART, cluster: "north", trustDomain: EAST } });
    expect(westTables({ imports: [importRule(), other] }).imports.size).toBe(2);
  });

  it("gather every cluster behind one local name, our own first, with the ports of all", () => {
    const local = importRule({
      from: { ...CART, cluster: "west", trustDomain: WEST },
      ports: [{ port: 8080, protocol: "http" }],
    });
    const route = importOf(westTables({ imports: [importRule(), local] }), CART);
    expect(route?.sources.map(({ rule, local: own }) => [rule.from.cluster, own])).toEqual([
      ["west", true],
      ["east", false],
    ]);
    expect([...(route?.ports.keys() ?? [])].sort()).toEqual([80, 8080]);
  });

  it("leave our own cluster out of an entry that is for others, unless it is the only one", () => {
    const local = importRule({ from: { ...CART, cluster: "west", trustDomain: WEST } });
    const leads = (imports: readonly ReturnType<typeof importRule>[], forOthers: boolean) =>
      compileEntry(westTables({ imports }), id("west/shop/web"), CART, 80, forOthers).sources.map(
        ({ destination }) => destination,
      );
    expect(leads([importRule(), local], false)).toEqual([WEST, EAST]);
    expect(leads([importRule(), local], true)).toEqual([EAST]);
    expect(leads([local], true)).toEqual([WEST]);
  });

  it("find an export with its audience", () => {
    expect(eastTables().exports.get("cart.shop")).toMatchObject({ audience: "east.test.mesh/shop/cart" });
    expect(eastTables().exports.get("cart.blog")).toBeUndefined();
  });

  it("find no inherited property of any object by a name from the wire", () => {
    for (const name of ["__proto__", "constructor", "toString"]) {
      expect(westTables().imports.get(name)).toBeUndefined();
      expect(eastTables().exports.get(name)).toBeUndefined();
    }
  });

  it("carry the revision and the cluster they were compiled from", () => {
    expect(eastTables({ revision: 41, exports: [exportRule()] })).toMatchObject({
      revision: 41,
      cluster: "east",
      trustDomain: EAST,
    });
  });
});
