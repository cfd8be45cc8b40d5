import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "../bundle/process-bundle.ts";
import { COMPILER_FLAGS, PROCESS_FLAGS } from "./programs.ts";

describe("V8's flags", () => {
  it.each(["agent", "gateway"])("are those of up in the %s's image", (name) => {
    const image = readFileSync(join(ROOT, `infra/kubernetes/images/${name}.Dockerfile`), "utf8");
    for (const flag of COMPILER_FLAGS) expect(image).toContain(`"${flag}"`);
    for (const flag of COMPILER_FLAGS) expect(PROCESS_FLAGS).toContain(flag);
  });
});
