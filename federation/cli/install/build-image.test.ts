import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { buildImage } from "./build-image.ts";

test.each(["gateway", "agent", "controller"])(
  "the image's file of a %s starts, and says which settings it lacks",
  async (role) => {
    const directory = mkdtempSync(join(tmpdir(), "isthmus-image-"));
    try {
      await buildImage(role, directory);
      const env = { PATH: process.env["PATH"], ISTHMUS_KUBERNETES: "in-cluster" };
      const done = spawnSync(process.execPath, [join(directory, "main.mjs")], { encoding: "utf8", env });
      expect(done.stderr).toContain(`${role} cannot start`);
      expect(done.stderr).toContain("ISTHMUS_STATE_DIR");
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  },
);
