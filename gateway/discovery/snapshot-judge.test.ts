import { describe, expect, it } from "vitest";
import type { TrustDomain } from "../../federation/model/spiffe-id.ts";
import { emptySnapshot } from "../../test/fakes/fake-registry.ts";
import { createTestFederation } from "../../test/fakes/pki.ts";
import { judgeSnapshot } from "./snapshot-judge.ts";

const federation = createTestFederation("demo.mesh", ["east", "west"]);
const OWNER = {
  federation: "demo.mesh",
  cluster: "east",
  trustDomain: federation.cluster("east").trustDomain,
};
const GOOD = emptySnapshot(federation, "east", 7);

function refusal(payload: unknown, revision?: number): string {
  const judged = judgeSnapshot(payload, OWNER, revision);
  return judged.ok ? "accepted" : judged.error.name;
}

describe("judgeSnapshot", () => {
  it.each([undefined, 6, 7])("accepts revision 7 after %s", (revision) => {
    expect(judgeSnapshot(GOOD, OWNER, revision)).toEqual({ ok: true, value: GOOD });
  });

  it("refuses a lower revision", () => {
    expect(refusal(GOOD, 8)).toBe("snapshot_revision_lower");
  });

  it.each([
    ["another cluster", { cluster: "west" }],
    ["another federation", { federation: "other.mesh" }],
    ["another trust domain", { trustDomain: "west.demo.mesh" as TrustDomain }],
  ])("refuses a snapshot of %s", (_, change) => {
    expect(refusal({ ...GOOD, ...change })).toBe("snapshot_foreign");
  });

  it("refuses a snapshot without the cluster's own bundle: it would part the cluster's own processes", () => {
    const bundles = GOOD.bundles.filter(({ trustDomain }) => trustDomain !== OWNER.trustDomain);
    expect(refusal({ ...GOOD, bundles })).toBe("snapshot_malformed");
  });

  it("refuses what does not fit the schema and names the fields", () => {
    const { egress: _, ...rest } = GOOD;
    const judged = judgeSnapshot({ ...rest, revision: "8", surprise: 1 }, OWNER, undefined);
    expect(judged).toMatchObject({ ok: false, error: { name: "snapshot_malformed" } });
    expect(judged.ok || judged.error.detail).toMatch(/revision: .*; .*egress|egress: .*revision/);
    expect(refusal(null)).toBe("snapshot_malformed");
  });
});
