import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { COMMANDS } from "../federation/cli/command-table.ts";
import { PROBLEMS } from "../federation/model/problem.ts";
import { run } from "./fakes/federation.ts";
import { blocksOf, commandsOf, localLinksOf, maskFigures } from "./readme/markdown.ts";

const root = new URL("../", import.meta.url);
const readme = readFileSync(new URL("README.md", root), "utf8");
const blocks = blocksOf(readme);
const commands = blocks.filter(({ language }) => language === "sh").flatMap(({ text }) => commandsOf(text));
const exists = (path: string) => existsSync(fileURLToPath(new URL(path, root)));

/** What of this command line the command does not have; empty when it fits. */
function misfits([first, second, ...rest]: readonly string[]): string[] {
  const two = COMMANDS.find(({ path }) => path === `${first} ${second}`);
  const spec = two ?? COMMANDS.find(({ path }) => path === first);
  if (spec === undefined) return [`no command "${first} ${second}"`];
  const words = two === undefined && second !== undefined ? [second, ...rest] : rest;
  const flags = spec.options.flatMap(({ flags: text }) =>
    text.split(/, | /).filter((word) => word.startsWith("-")),
  );
  return words
    .filter((word) => /^--?[a-z]/.test(word))
    .map((word) => word.replace(/=.*$/, ""))
    .filter((word) => !flags.includes(word))
    .map((word) => `${spec.path} has no ${word}`);
}

describe("the README", () => {
  test("gives the two commands", () => {
    expect(commands).toContainEqual(["npm", "start"]);
    expect(commands).toContainEqual(["npm", "test"]);
    expect(readme).toContain("npm ci && npm start");
    expect(readme).toContain("npm ci && npm test");
  });

  test("names only isthmus commands and flags that exist", () => {
    const written = commands.filter(([program]) => program === "isthmus");
    expect(written.length).toBeGreaterThan(5);
    expect(written.flatMap(([, ...words]) => misfits(words))).toEqual([]);
  });

  test("names only npm scripts that exist", () => {
    const { scripts } = JSON.parse(readFileSync(new URL("package.json", root), "utf8")) as {
      scripts: object;
    };
    const asked = commands.flatMap(([program, verb, name]) =>
      program === "npm" && verb === "run" ? [name ?? ""] : [],
    );
    expect(asked.filter((name) => !(name in scripts))).toEqual([]);
  });

  test("links and points to what is there", () => {
    const folders = [...readme.matchAll(/`((?:federation|gateway|agents|infra|test)\/[\w./-]*)`/g)].map(
      (match) => match[1] ?? "",
    );
    expect([...localLinksOf(readme), ...folders].filter((path) => !exists(path))).toEqual([]);
  });

  test("mentions only problem codes that exist", () => {
    const known: readonly string[] = Object.values(PROBLEMS).map(({ code }) => code);
    expect(
      [...readme.matchAll(/ISTH-\d+/g)].map(([code]) => code).filter((code) => !known.includes(code)),
    ).toEqual([]);
  });

  test("shows what isthmus demo really prints", async () => {
    const shown = blocks.find(({ mark }) => mark === "transcript: isthmus demo --once");
    const real = await run(["demo", "--once"]);
    expect(real.code, real.err).toBe(0);
    expect(maskFigures(real.out)).toBe(maskFigures(shown?.text.replace(/^\$ .*\n/, "") ?? ""));
  });
});
