import fc from "fast-check";
import { expect, test } from "vitest";
import { unwrap } from "../../test/fakes/pki.ts";
import { diffText } from "../../federation/model/text-delta.ts";
import { applyDelta } from "./snapshot-delta.ts";

const LIMIT = 10_000;
const encode = (text: string) => Buffer.from(text).toString("base64url");
const jws = (text: string) => `aGVhZA.${encode(text)}.c2ln`;
const BASE = { revision: 3, jws: jws('{"a":[1,2,3],"revision":3}') };

function delta(changes: object = {}): string {
  return JSON.stringify({
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "SnapshotDelta",
    from: 3,
    to: 4,
    header: "aGVhZA",
    patch: diffText('{"a":[1,2,3],"revision":3}', '{"a":[1,9,3],"revision":4}'),
    signature: "c2ln",
    ...changes,
  });
}

test("leads to the new snapshot as it was signed", () => {
  expect(unwrap(applyDelta(delta(), BASE, LIMIT))).toBe(jws('{"a":[1,9,3],"revision":4}'));
});

test.each([
  ["no JSON", "{", "is not JSON"],
  ["another shape", "[]", "malformed"],
  ["an unknown field", delta({ more: 1 }), "malformed"],
  ["another base", delta({ from: 2 }), "begins at revision 2, in force is 3"],
  ["a copy of what is not there", delta({ patch: [[0, 4_000]] }), "does not fit"],
  ["a negative offset", delta({ patch: [[-1, 4]] }), "malformed"],
  ["more than a snapshot may have", delta({ patch: ["x".repeat(LIMIT + 1)] }), "does not fit"],
])("refuses %s", (_, text, reason) => {
  const result = applyDelta(text, BASE, LIMIT);
  expect(result.ok ? "" : `${result.error.name}: ${result.error.detail}`).toMatch(/^snapshot_malformed: /);
  expect(result.ok ? "" : result.error.detail).toContain(reason);
});

test("never throws, whatever comes", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.json()),
      (text) => typeof applyDelta(text, BASE, LIMIT).ok === "boolean",
    ),
  );
});
