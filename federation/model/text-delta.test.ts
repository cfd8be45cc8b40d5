import fc from "fast-check";
import { expect, test } from "vitest";
import { diffText, patchText } from "./text-delta.ts";

const LIMIT = 1_000_000;

test("any text becomes any other", () => {
  const text = fc.oneof(
    fc.string(),
    fc.json(),
    fc.string({ unit: fc.constantFrom("}", "]", ",", "{", "a", "é", "\ud83d") }),
  );
  fc.assert(
    fc.property(text, text, (before, after) => {
      expect(patchText(before, diffText(before, after), LIMIT)).toBe(after);
    }),
    { numRuns: 1_000 },
  );
});

test("a list that lost, gained and moved a few of a thousand items is told in a few hundred characters", () => {
  const item = (index: number) => ({ name: `service-${index}`, ports: [{ port: index, protocol: "http" }] });
  const list = Array.from({ length: 1_000 }, (_, index) => item(index));
  const changed = [
    ...list.slice(0, 300),
    item(5_000),
    ...list.slice(301, 700),
    ...list.slice(702),
    list[701],
    item(6_000),
  ];
  const [before, after] = [
    JSON.stringify({ list, revision: 1 }),
    JSON.stringify({ list: changed, revision: 2 }),
  ];
  const delta = diffText(before, after);
  expect(patchText(before, delta, LIMIT)).toBe(after);
  expect(JSON.stringify(delta).length).toBeLessThan(400);
});

test("what asks for more than there is, or for too much, is refused", () => {
  expect(patchText("abc", [[1, 3]], LIMIT)).toBeUndefined();
  expect(
    patchText(
      "abc",
      Array.from({ length: 100 }, () => [0, 3] as const),
      200,
    ),
  ).toBeUndefined();
});
