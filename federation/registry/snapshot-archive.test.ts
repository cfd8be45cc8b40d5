import { expect, test } from "vitest";
import { joinJws } from "../trust/index.ts";
import { MemoryArchive, type SnapshotArchive } from "./snapshot-archive.ts";

const JWS = { header: "aGVhZA", payload: Buffer.from("abcd"), signature: "c2ln" };
const FAR = { ...JWS, payload: Buffer.from("xxxx") };

test("keeps what was asked for last, and asks the one behind it for the rest", async () => {
  const asked: string[] = [];
  const behind: SnapshotArchive = {
    find: async (cluster, revision) => {
      asked.push(`${cluster}/${revision}`);
      return cluster === "far" ? joinJws(FAR) : undefined;
    },
    save: async () => {},
  };
  const archive = new MemoryArchive(behind, 10);
  for (const revision of [1, 2]) await archive.save("east", revision, JWS);
  expect(await archive.find("east", 1)).toEqual(JWS);
  await archive.save("east", 3, JWS);
  // The second was the one that nobody asked for.
  expect(await archive.find("east", 2)).toBeUndefined();
  expect(await archive.find("east", 1)).toEqual(JWS);
  expect(asked).toEqual(["east/2"]);
  expect(await archive.find("far", 1)).toEqual(FAR);
  expect(await archive.find("far", 1)).toEqual(FAR);
  expect(asked).toEqual(["east/2", "far/1"]);
});
