import { describe, expect, it } from "vitest";
import { CART, id, westTables } from "../../../test/fakes/rules.ts";
import { decideMesh } from "./decide.ts";

const refusal = (name: string) => ({ kind: "refuse", problem: { name } });

describe("decideMesh", () => {
  const AGENT = id("west/isthmus-system/agent");
  const CALLER = id("west/shop/web");
  const policies = (action: "allow" | "deny", workload: string) =>
    westTables({
      authorization: [
        {
          name: "shop/p",
          namespace: "shop",
          services: [],
          ports: [],
          action,
          mode: "enforce",
          from: [{ workload }],
        },
      ],
    });

  it("lets everybody of the cluster call its own services, exported or not", () => {
    for (const peer of [AGENT, undefined])
      expect(decideMesh(westTables(), peer, CART, 80, CALLER)).toMatchObject({
        kind: "forward",
        permit: { caller: CALLER },
      });
  });

  it.each([
    ["there is no snapshot yet", undefined, AGENT, CALLER, "snapshot_missing"],
    ["a gateway brings it", westTables(), id("west/isthmus-system/gateway"), CALLER, "peer_role"],
    ["another cluster's agent brings it", westTables(), id("east/isthmus-system/agent"), CALLER, "peer_role"],
    ["a workload brings it itself", westTables(), CALLER, CALLER, "peer_role"],
    ["the caller is of another cluster", westTables(), AGENT, id("east/shop/web"), "caller_token_invalid"],
    ["a policy denies it", policies("deny", "ns/shop/sa/web"), AGENT, CALLER, "authorization_denied"],
    ["no policy allows it", policies("allow", "ns/shop/sa/batch"), undefined, CALLER, "authorization_denied"],
  ] as const)("refuses when %s", (_when, tables, peer, caller, name) => {
    expect(decideMesh(tables, peer, CART, 80, caller)).toMatchObject(refusal(name));
  });
});
