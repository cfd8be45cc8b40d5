import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { VERSION } from "../federation/model/version.ts";

test("the version that processes report is the package's", () => {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  expect(JSON.parse(text)).toMatchObject({ version: VERSION });
});
