import { existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { useTempDirs } from "../../../test/fakes/temp-dir.ts";
import { removeLeftBehind } from "./state-dir.ts";

const tempDir = useTempDirs();
// No process has it: the kernel's highest is 2^22.
const NOBODY = 2 ** 30;

it("removes what a killed up left behind, and nothing that somebody still uses or that is not ours", async () => {
  const parent = tempDir();
  const make = (name: string, pid?: number) => {
    mkdirSync(join(parent, name));
    if (pid !== undefined) writeFileSync(join(parent, name, "up.pid"), `${pid}\n`);
  };
  make("isthmus-up-killed", NOBODY);
  make("isthmus-up-living", process.pid);
  make("isthmus-up-starting");
  make("another", NOBODY);
  const elsewhere = tempDir();
  writeFileSync(join(elsewhere, "up.pid"), `${NOBODY}\n`);
  symlinkSync(elsewhere, join(parent, "isthmus-up-link"));
  await removeLeftBehind(parent);
  const left = ["isthmus-up-killed", "isthmus-up-living", "isthmus-up-starting", "another"];
  expect(left.map((name) => existsSync(join(parent, name)))).toEqual([false, true, true, true]);
  expect(existsSync(join(elsewhere, "up.pid"))).toBe(true);
});
