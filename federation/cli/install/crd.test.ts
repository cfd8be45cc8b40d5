import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { renderCrds } from "./write-crds.ts";

test("the CustomResourceDefinitions in infra/kubernetes are those that the schemas make", () => {
  const path = new URL("../../../infra/kubernetes/crds/isthmus.yaml", import.meta.url);
  expect(readFileSync(path, "utf8")).toBe(renderCrds());
});
