import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { fileProblem, writeFileAtomic } from "./atomic-file.ts";

const tempDir = useTempDirs();

describe("writeFileAtomic", () => {
  it("replaces the file whole and leaves nothing beside it", async () => {
    const path = join(tempDir(), "x");
    for (const text of ["a longer text", "short"]) expect((await writeFileAtomic(path, text)).ok).toBe(true);
    expect(readFileSync(path, "utf8")).toBe("short");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(join(path, ".."))).toEqual(["x"]);
  });

  it("leaves the old state and no trace when it fails", async () => {
    const dir = tempDir();
    mkdirSync(join(dir, "x", "inside"), { recursive: true });
    expect(await writeFileAtomic(join(dir, "x"), "text")).toMatchObject({
      ok: false,
      error: { name: "state_unusable" },
    });
    expect(readdirSync(dir)).toEqual(["x"]);
  });
});

describe("fileProblem", () => {
  it.each([
    ["ENOSPC", "disk_full", "cannot be written"],
    ["EDQUOT", "disk_full", "cannot be written"],
    ["EACCES", "state_unusable", "this user has no permission"],
    ["EROFS", "state_unusable", "the file system is read-only"],
    ["EWHATEVER", "state_unusable", "as the system says"],
  ] as const)("names %s", (code, name, detail) => {
    const found = fileProblem("/x", "written", Object.assign(new Error("as the system says"), { code }));
    expect(found).toMatchObject({ name, detail: expect.stringContaining(detail) });
  });
});
