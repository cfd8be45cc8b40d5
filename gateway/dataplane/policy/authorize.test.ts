import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { matchWorkload } from "../../../federation/model/workload-pattern.ts";
import {
  CART,
  EAST,
  eastTables,
  exportRule,
  id,
  importRule,
  WEST,
  westTables,
} from "../../../test/fakes/rules.ts";
import { importOf } from "../routing/tables.ts";
import { authorizeExport, authorizeImport } from "./authorize.ts";
import { compileEgress } from "./egress-table.ts";

const WEB = id("west/shop/web");

const NO_POLICY = compileEgress({ policies: [] });

describe("authorizeImport", () => {
  const route = (workloads: readonly string[]) => {
    const found = importOf(westTables({ imports: [importRule({ workloads })] }), CART)?.sources[0];
    if (found === undefined) throw new Error("no route");
    return found;
  };

  it.each([["ns/shop/sa/web"], ["ns/shop/sa/*"], ["ns/*/sa/web"], ["*"], ["ns/blog/sa/a", "ns/shop/sa/web"]])(
    "allows what %j names",
    (...workloads) => {
      expect(authorizeImport(route(workloads), NO_POLICY, WEB)).toMatchObject({
        kind: "allowed",
        permit: { caller: WEB },
      });
    },
  );

  it.each([[], ["ns/shop/sa/batch"], ["ns/blog/sa/*"], ["ns/shop/sa/we"], ["ns/shop/sa/web2"]])(
    "denies what %j does not name, and tells both names",
    (...workloads) => {
      const verdict = authorizeImport(route(workloads), NO_POLICY, WEB);
      expect(verdict).toMatchObject({ kind: "denied", problem: { name: "export_denied" } });
      expect(JSON.stringify(verdict)).toMatch(/cart\.shop.*ns\/shop\/sa\/web/);
    },
  );

  it("denies by egress policy what the owner permits", () => {
    const egress = compileEgress({ policies: [{ name: "p", mode: "enforce", from: [], to: [] }] });
    expect(authorizeImport(route(["*"]), egress, WEB)).toMatchObject({
      kind: "denied",
      problem: { name: "egress_denied" },
    });
  });

  it("judges egress by the local name of an alias", () => {
    const basket = { namespace: "shop", name: "basket" };
    const alias = importOf(westTables({ imports: [importRule(basket)] }), basket)?.sources[0];
    const allow = (name: string) =>
      compileEgress({
        policies: [{ name: "p", mode: "enforce", from: ["*"], to: [{ namespace: "shop", name }] }],
      });
    if (alias === undefined) throw new Error("no route");
    expect(authorizeImport(alias, allow("basket"), WEB).kind).toBe("allowed");
    expect(authorizeImport(alias, allow("cart"), WEB).kind).toBe("denied");
  });

  it("marks what an observing policy would deny", () => {
    const egress = compileEgress({ policies: [{ name: "p", mode: "observe", from: [], to: [] }] });
    expect(authorizeImport(route(["*"]), egress, WEB)).toMatchObject({ permit: { wouldDeny: true } });
  });
});

describe("authorizeExport", () => {
  const route = (change: Parameters<typeof exportRule>[0]) => {
    const found = eastTables({ exports: [exportRule(change)] }).exports.get("cart.shop");
    if (found === undefined) throw new Error("no route");
    return found;
  };
  const west = (...workloads: string[]) => ({ cluster: "west", trustDomain: WEST, workloads });

  it("allows a caller that a consumer entry names", () => {
    expect(authorizeExport(route({}), WEB)).toMatchObject({ kind: "allowed", permit: { wouldDeny: false } });
  });

  it("denies the same name in another cluster", () => {
    const verdict = authorizeExport(route({}), id("north/shop/web"));
    expect(verdict).toMatchObject({ kind: "denied", problem: { name: "not_exported" } });
  });

  it("denies another workload of a consumer", () => {
    const verdict = authorizeExport(route({}), id("west/shop/batch"));
    expect(verdict).toMatchObject({ kind: "denied", problem: { name: "export_denied" } });
  });

  it("denies everybody when nobody is named", () => {
    expect(authorizeExport(route({ consumers: [] }), WEB)).toMatchObject({
      problem: { name: "not_exported" },
    });
    expect(authorizeExport(route({ consumers: [west()] }), WEB)).toMatchObject({
      problem: { name: "export_denied" },
    });
  });

  it("takes several entries of one cluster together", () => {
    const consumers = [west("ns/shop/sa/batch"), west("ns/shop/sa/web")];
    expect(authorizeExport(route({ consumers }), WEB).kind).toBe("allowed");
  });

  it("is not widened by what another cluster may do", () => {
    const consumers = [west("ns/shop/sa/batch"), { cluster: "north", trustDomain: EAST, workloads: ["*"] }];
    expect(authorizeExport(route({ consumers }), WEB).kind).toBe("denied");
  });

  it("allows exactly those whom a pattern of their own cluster fits", () => {
    const part = fc.constantFrom("a", "b", "*");
    const pattern = fc.oneof(
      fc.constant("*"),
      fc.tuple(part, part).map(([ns, sa]) => `ns/${ns}/sa/${sa}`),
    );
    const name = fc.constantFrom("a", "b");
    const consumer = fc.record({
      cluster: fc.constantFrom("west", "north"),
      workloads: fc.array(pattern, { maxLength: 3 }),
    });
    fc.assert(
      fc.property(
        fc.array(consumer, { maxLength: 4 }),
        fc.constantFrom("west", "north"),
        name,
        name,
        (entries, cluster, ns, sa) => {
          const caller = id(`${cluster}/${ns}/${sa}`);
          const consumers = entries.map((entry) => ({
            ...entry,
            trustDomain: id(`${entry.cluster}/a/a`).trustDomain,
          }));
          const expected = entries.some(
            (entry) =>
              entry.cluster === cluster && entry.workloads.some((fitting) => matchWorkload(fitting, caller)),
          );
          expect(authorizeExport(route({ consumers }), caller).kind === "allowed").toBe(expected);
        },
      ),
    );
  });
});
