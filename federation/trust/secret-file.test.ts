import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readSecretFile, writeSecretFile } from "./secret-file.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "isthmus-secret-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const modeOf = (path: string) => statSync(path).mode & 0o777;

describe("a secret file", () => {
  it("is readable by its owner alone, whatever the umask and the mode of its predecessor", () => {
    const path = join(directory, "ca.key");
    writeFileSync(path, "old", { mode: 0o644 });
    const before = process.umask(0);
    try {
      expect(writeSecretFile(path, "new")).toEqual({ ok: true, value: undefined });
    } finally {
      process.umask(before);
    }
    expect(modeOf(path)).toBe(0o600);
    expect(readSecretFile(path)).toEqual({ ok: true, value: "new" });
  });

  it("leaves nothing else in its directory", () => {
    writeSecretFile(join(directory, "ca.key"), "text");
    expect(readdirSync(directory)).toEqual(["ca.key"]);
  });

  it("replaces a link instead of writing through it", () => {
    const target = join(directory, "elsewhere");
    writeFileSync(target, "untouched");
    symlinkSync(target, join(directory, "ca.key"));
    writeSecretFile(join(directory, "ca.key"), "secret");
    expect(readFileSync(target, "utf8")).toBe("untouched");
  });

  it("keeps its old text when the new one cannot be put in place, and says why", () => {
    const path = join(directory, "ca.key");
    mkdirSync(path);
    const result = writeSecretFile(path, "text");
    expect(result).toMatchObject({ ok: false, error: { name: "state_unusable" } });
    expect(JSON.stringify(result)).not.toContain("text");
    expect(readdirSync(directory)).toEqual(["ca.key"]);
  });

  it("is not written into a directory that is not there", () => {
    const path = join(directory, "missing", "ca.key");
    expect(writeSecretFile(path, "text")).toMatchObject({
      ok: false,
      error: { name: "state_unusable", detail: expect.stringContaining("ENOENT") },
    });
  });

  it.each([
    [0o600, true],
    [0o400, true],
    // Kubernetes mounts a Secret so, for a process that is not root.
    [0o440, true],
    [0o640, true],
    [0o644, false],
    [0o604, false],
    [0o660, false],
    [0o601, false],
    [0o777, false],
  ])("of mode %o is read: %s", (mode, accepted) => {
    const path = join(directory, "ca.key");
    writeFileSync(path, "text");
    chmodSync(path, mode);
    const result = readSecretFile(path);
    expect(result.ok).toBe(accepted);
    if (!result.ok) expect(result.error.detail).toContain(`chmod 600 ${path}`);
  });

  it("that is not there is reported as such", () => {
    expect(readSecretFile(join(directory, "none"))).toMatchObject({
      ok: false,
      error: { name: "file_unreadable", detail: expect.stringContaining("ENOENT") },
    });
  });
});
