import { expect, test } from "vitest";
import { editDistance, nearest } from "./nearest.ts";

test.each([
  ["port", "port", 0],
  ["prot", "port", 1],
  ["ports", "port", 1],
  ["", "port", 4],
  ["sepc", "spec", 1],
  ["kitten", "sitting", 3],
])("%s is %s after %i steps", (a, b, steps) => {
  expect(editDistance(a, b)).toBe(steps);
  expect(editDistance(b, a)).toBe(steps);
});

test("finds the word that was meant, whatever its case", () => {
  expect(nearest("serviceexport", ["ServiceImport", "ServiceExport"])).toBe("ServiceExport");
  expect(nearest("observ", ["observe", "enforce"])).toBe("observe");
});

test("suggests nothing for another word, an empty one or a very long one", () => {
  expect(nearest("banana", ["observe", "enforce"])).toBeUndefined();
  expect(nearest("", ["a"])).toBeUndefined();
  expect(nearest("a".repeat(1_000_000), ["a"])).toBeUndefined();
});

test("takes the first of two words that are equally near", () => {
  expect(nearest("cat", ["cart", "cast"])).toBe("cart");
});
