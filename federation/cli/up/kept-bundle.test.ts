import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { useTempDirs } from "../../../test/fakes/temp-dir.ts";
import { KeptBundle } from "./kept-bundle.ts";

const tempDir = useTempDirs();
/** A bundle that begins so long after the sources were written. */
const LATER = () => Date.now() + 10_000;

interface Scene {
  readonly root: string;
  readonly place: string;
  readonly kept: KeptBundle;
  /** A new bundle with these words in it. */
  made(words: string): string;
}

function open(): Scene {
  const [root, place] = [tempDir(), join(tempDir(), "bundles")];
  for (const name of ["a.ts", "b.ts"]) writeFileSync(join(root, name), name);
  const made = (words: string) => {
    const directory = tempDir();
    writeFileSync(join(directory, "gateway.mjs"), words);
    return directory;
  };
  return { root, place, kept: new KeptBundle(root, place, "programs"), made };
}

async function taken(kept: KeptBundle): Promise<string | undefined> {
  const directory = join(tempDir(), "programs");
  if (!(await kept.take(directory))) return undefined;
  return readFileSync(join(directory, "gateway.mjs"), "utf8");
}

it("gives a copy of the last bundle while its sources are as they were", async () => {
  const { kept, made } = open();
  expect(await taken(kept)).toBeUndefined();
  await kept.keep(made("first"), ["a.ts", "b.ts"], LATER());
  expect(await taken(kept)).toBe("first");
  expect(await taken(kept)).toBe("first");
});

it.each([
  ["a source is written again with the same words and dates", "b.ts"],
  ["npm changed a package", "node_modules/.package-lock.json"],
  ["settings of the compiler came to be", "tsconfig.json"],
  ["bundles are made in another way", "federation/cli/bundle/process-bundle.ts"],
])("gives none when %s", async (_, file) => {
  const { root, kept, made } = open();
  const dates = new Date(500_000_000_000);
  for (const folder of ["node_modules", "federation/cli/bundle"])
    mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, "node_modules/.package-lock.json"), "{}");
  utimesSync(join(root, "b.ts"), dates, dates);
  await kept.keep(made("first"), ["a.ts", "b.ts"], LATER());
  expect(await taken(kept)).toBe("first");
  const changed = () => statSync(join(root, file), { throwIfNoEntry: false })?.ctimeMs;
  const before = changed();
  // The kernel's clock moves every few milliseconds.
  while (changed() === before) writeFileSync(join(root, file), "b.ts");
  utimesSync(join(root, file), dates, dates);
  expect(await taken(kept)).toBeUndefined();
});

it("keeps none of sources that were saved while it was made", async () => {
  const { kept, made } = open();
  await kept.keep(made("which of the two?"), ["a.ts", "b.ts"], Date.now());
  expect(await taken(kept)).toBeUndefined();
});

it("keeps one, and leaves what is not its own", async () => {
  const { root, place, kept, made } = open();
  const telemetry = new KeptBundle(root, place, "programs-telemetry");
  await telemetry.keep(made("with telemetry"), ["a.ts"], LATER());
  await kept.keep(made("first"), ["a.ts"], LATER());
  await kept.keep(made("second"), ["a.ts", "b.ts"], LATER());
  expect(await taken(kept)).toBe("second");
  expect(await taken(telemetry)).toBe("with telemetry");
  expect(readdirSync(place).filter((name) => !name.endsWith(".json"))).toHaveLength(2);
});

it("is made by two starts at once as by one", async () => {
  const { place, kept, made } = open();
  await Promise.all(["same", "same"].map((words) => kept.keep(made(words), ["a.ts"], LATER())));
  expect(await taken(kept)).toBe("same");
  expect(readdirSync(place)).toHaveLength(2);
});

it("gives none where its list is broken or what it names is gone", async () => {
  const { place, kept, made } = open();
  await kept.keep(made("first"), ["a.ts"], LATER());
  for (const list of ["{", "{}", '["missing.ts"]']) {
    writeFileSync(join(place, "programs.json"), list);
    expect(await taken(kept)).toBeUndefined();
  }
  expect(existsSync(place)).toBe(true);
});
