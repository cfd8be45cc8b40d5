import { expect, test } from "vitest";
import { CompiledTexts } from "./compiled-texts.ts";
import type { ClusterState } from "./state.ts";

const cluster = () => ({}) as ClusterState;

test("hands a text out once", () => {
  const texts = new CompiledTexts();
  const east = cluster();
  texts.keep(east, ["{}"]);
  expect([texts.take(east), texts.take(east)]).toEqual([["{}"], undefined]);
});

test("forgets the oldest rather than to grow", () => {
  const texts = new CompiledTexts(10);
  const [one, two, three] = [cluster(), cluster(), cluster()];
  texts.keep(one, ["aaaa"]);
  texts.keep(two, ["bbbb"]);
  texts.keep(two, ["bbbbb"]);
  texts.keep(three, ["ccccc"]);
  expect([one, two, three].map((each) => texts.take(each)?.join(""))).toEqual([undefined, "bbbbb", "ccccc"]);
  texts.keep(one, ["a".repeat(11)]);
  expect(texts.take(one)).toBeUndefined();
  texts.keep(two, ["bbbb"]);
  texts.clear();
  expect(texts.take(two)).toBeUndefined();
});
