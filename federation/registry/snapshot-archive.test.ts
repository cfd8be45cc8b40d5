import { expect, test } from "vitest";
import { MemoryArchive, type SnapshotArchive } from "./snapshot-archive.ts";

test("keeps what was asked for last, and asks the one behind it for the rest", async () => {
  const asked: string[] = [];
  const behind: SnapshotArchive = {
    find: async (cluster, revision) => {
      asked.push(`${cluster}/${revision}`);
      return cluster === "far" ? "x".repeat(4) : undefined;
    },
    save: async () => {},
  };
  const archive = new MemoryArchive(behind, 10);
  for (const revision of [1, 2]) await archive.save("east", revision, "abcd");
  expect(await archive.find("east", 1)).toBe("abcd");
  await archive.save("east", 3, "abcd");
  // The second was the one that nobody asked for.
  expect(await archive.find("east", 2)).toBeUndefined();
  expect(await archive.find("east", 1)).toBe("abcd");
  expect(asked).toEqual(["east/2"]);
  expect(await archive.find("far", 1)).toBe("xxxx");
  expect(await archive.find("far", 1)).toBe("xxxx");
  expect(asked).toEqual(["east/2", "far/1"]);
});
