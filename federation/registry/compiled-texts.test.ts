import { expect, test } from "vitest";
import { CompiledTexts } from "./compiled-texts.ts";
import type { ClusterState } from "./state.ts";

const cluster = () => ({}) as ClusterState;

test("hands a text out once", () => {
  const texts = new CompiledTexts();
  const east = cluster();
  texts.keep(east, Buffer.from("{}"));
  expect([texts.take(east), texts.take(east)].map(String)).toEqual(["{}", "undefined"]);
});

test("forgets the oldest rather than to grow", () => {
  const texts = new CompiledTexts(10);
  const [one, two, three] = [cluster(), cluster(), cluster()];
  texts.keep(one, Buffer.from("aaaa"));
  texts.keep(two, Buffer.from("bbbb"));
  texts.keep(two, Buffer.from("bbbbb"));
  texts.keep(three, Buffer.from("ccccc"));
  expect([one, two, three].map((each) => texts.take(each)?.toString())).toEqual([
    undefined,
    "bbbbb",
    "ccccc",
  ]);
  texts.keep(one, Buffer.from("a".repeat(11)));
  expect(texts.take(one)).toBeUndefined();
  texts.keep(two, Buffer.from("bbbb"));
  texts.clear();
  expect(texts.take(two)).toBeUndefined();
});
