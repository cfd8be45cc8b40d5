import { describe, expect, it } from "vitest";
import type { SnapshotEgressPolicy } from "../../../federation/model/snapshot.ts";
import { CART, id } from "../../../test/fakes/rules.ts";
import { judgeEgress } from "./egress.ts";
import { compileEgress } from "./egress-table.ts";

const WEB = id("west/shop/web");

const policy = (mode: SnapshotEgressPolicy["mode"], fits: boolean): SnapshotEgressPolicy => ({
  name: `${mode}-${fits}`,
  mode,
  from: [fits ? "ns/shop/sa/web" : "ns/shop/sa/batch"],
  to: [CART],
});

const ENFORCE_YES = policy("enforce", true);
const ENFORCE_NO = policy("enforce", false);
const OBSERVE_YES = policy("observe", true);
const OBSERVE_NO = policy("observe", false);

describe("egress", () => {
  it.each([
    ["without policies", [], true, false],
    ["with one that enforces and fits", [ENFORCE_YES], true, false],
    ["with one that enforces and does not fit", [ENFORCE_NO], false, false],
    ["with several that enforce, of which one fits", [ENFORCE_NO, ENFORCE_YES], true, false],
    ["with one that observes and fits", [OBSERVE_YES], true, false],
    ["with one that observes and does not fit", [OBSERVE_NO], true, true],
    ["with several that observe, of which one fits", [OBSERVE_NO, OBSERVE_YES], true, false],
    [
      "with one that enforces and fits, and one that observes and does not",
      [ENFORCE_YES, OBSERVE_NO],
      true,
      false,
    ],
    [
      "with one that enforces and does not fit, and one that observes and does",
      [ENFORCE_NO, OBSERVE_YES],
      false,
      false,
    ],
    ["with neither kind fitting", [ENFORCE_NO, OBSERVE_NO], false, false],
  ] as const)("%s: allowed %o, would deny %o", (_what, policies, allowed, wouldDeny) => {
    expect(judgeEgress(compileEgress({ policies }), WEB, CART)).toEqual({ allowed, wouldDeny });
    expect(judgeEgress(compileEgress({ policies: [...policies].reverse() }), WEB, CART)).toEqual({
      allowed,
      wouldDeny,
    });
  });

  it("needs the service and the namespace to fit", () => {
    const judge = (namespace: string, name: string) =>
      judgeEgress(compileEgress({ policies: [ENFORCE_YES] }), WEB, { namespace, name });
    expect(judge("shop", "cart").allowed).toBe(true);
    expect(judge("blog", "cart").allowed).toBe(false);
    expect(judge("shop", "other").allowed).toBe(false);
  });

  it("needs caller and service to fit in one policy", () => {
    const other = { namespace: "shop", name: "other" };
    const policies = [{ ...ENFORCE_YES, to: [other] }, ENFORCE_NO];
    expect(judgeEgress(compileEgress({ policies }), WEB, CART).allowed).toBe(false);
  });
});
