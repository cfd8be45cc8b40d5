import fc from "fast-check";
import { expect, test } from "vitest";
import { isNestedDeeper } from "./json-depth.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

test("counts brackets and braces, and not those inside text", () => {
  expect(isNestedDeeper(bytes("[[{}]]"), 3)).toBe(false);
  expect(isNestedDeeper(bytes("[[{}]]"), 2)).toBe(true);
  expect(isNestedDeeper(bytes(String.raw`["[[[[\"[[[[", "\\"]`), 1)).toBe(false);
});

test("counts depth, not how many there are", () => {
  expect(isNestedDeeper(bytes(`[${"[],".repeat(1_000)}[]]`), 2)).toBe(false);
});

test("agrees with the depth of any JSON value", () => {
  const depthOf = (value: unknown): number =>
    typeof value === "object" && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0;
  fc.assert(
    fc.property(fc.json(), (text) => {
      const depth = depthOf(JSON.parse(text));
      expect(isNestedDeeper(bytes(text), depth)).toBe(false);
      if (depth > 0) expect(isNestedDeeper(bytes(text), depth - 1)).toBe(true);
    }),
  );
});
