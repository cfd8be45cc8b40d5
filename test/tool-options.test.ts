import { describe, expect, it } from "vitest";
import { readToolOptions } from "./tool-options.ts";

const DEFAULTS = { rounds: 20, store: ["sqlite", "dynamodb"], agents: false, only: "all" } as const;

const read = (...args: readonly string[]) => readToolOptions("npm run chaos --", DEFAULTS, args);

describe("the options of a tool", () => {
  it("are its defaults, unless given", () => {
    expect(read()).toEqual({ options: { rounds: 20, store: "sqlite", agents: false, only: "all" } });
    expect(read("--rounds", "2.5", "--store", "dynamodb", "--agents", "--only", "x")).toEqual({
      options: { rounds: 2.5, store: "dynamodb", agents: true, only: "x" },
    });
  });

  const USAGE = "Usage: npm run chaos -- [--rounds 20] [--store sqlite|dynamodb] [--agents] [--only all]\n";

  it("say what they are when asked for help", () => {
    expect(read("--help")).toEqual({ text: USAGE, exitCode: 0 });
  });

  it.each([
    [["--rounds", "many"], 'error: --rounds wants a number from 0 up, got "many"\n'],
    [["--rounds", ""], 'error: --rounds wants a number from 0 up, got ""\n'],
    [["--rounds", "-1"], "error: Option '--rounds' argument is ambiguous."],
    [["--store", "disk"], 'error: --store wants one of sqlite, dynamodb, got "disk"\n'],
    [["--round", "1"], "error: Unknown option '--round'"],
    [["extra"], "error: Unexpected argument 'extra'"],
  ])("are refused with the reason and the usage: %j", (args, reason) => {
    const reading = read(...args);
    expect(reading).toEqual({ text: expect.stringContaining(reason), exitCode: 64 });
    expect(reading).toEqual({ text: expect.stringContaining(USAGE), exitCode: 64 });
  });
});
