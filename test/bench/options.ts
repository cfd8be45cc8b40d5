import { parseArgs } from "node:util";

export const SECTIONS = ["requests", "http2", "grpc", "paced", "bulk", "connections"] as const;
export type Section = (typeof SECTIONS)[number];

export interface Options {
  readonly only: readonly string[];
  readonly connections: readonly number[];
  readonly sections: readonly Section[];
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly json: string | undefined;
  readonly assert: boolean;
  readonly loadCpu: number;
  readonly proxyCpu: number;
}

export const USAGE = `Usage: npm run bench -- [options]

  --quick               one round of 2 s instead of three of 4 s: for a look, not for a claim
  --only IDS            chains whose id starts with one of these: isthmus,nginx-4,haproxy,tcp ...
  --connections LIST    connections of the main table (4,64,256)
  --sections LIST       of ${SECTIONS.join(",")} (all)
  --rounds N            rounds of every measurement (3)
  --seconds N           length of one measurement (4)
  --load-cpu N          core of wrk and the backend (0)
  --proxy-cpu N         core of every process of a chain (1)
  --json FILE           writes every sample and the summary
  --assert              exit 1 unless every bar holds
`;

export class UsageError extends Error {}

export function parseOptions(args: readonly string[]): Options | "help" {
  const { values } = readFlags(args);
  if (values.help === true) return "help";
  const quick = values.quick === true;
  return {
    only: list(values.only ?? ""),
    connections: list(values.connections ?? "4,64,256").map((text) => whole("--connections", text, 1)),
    sections: list(values.sections ?? SECTIONS.join(",")).map(section),
    rounds: whole("--rounds", values.rounds ?? (quick ? "1" : "3"), 1),
    seconds: whole("--seconds", values.seconds ?? (quick ? "2" : "4"), 1),
    warmUpSeconds: 1,
    json: values.json,
    assert: values.assert === true,
    loadCpu: whole("--load-cpu", values["load-cpu"] ?? "0", 0),
    proxyCpu: whole("--proxy-cpu", values["proxy-cpu"] ?? "1", 0),
  };
}

function readFlags(args: readonly string[]) {
  const flag = { type: "boolean" } as const;
  const text = { type: "string" } as const;
  try {
    return parseArgs({
      args: [...args],
      options: {
        help: flag,
        quick: flag,
        assert: flag,
        only: text,
        connections: text,
        sections: text,
        rounds: text,
        seconds: text,
        json: text,
        "load-cpu": text,
        "proxy-cpu": text,
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function list(text: string): string[] {
  return text.split(",").filter((part) => part !== "");
}

function whole(flag: string, text: string, minimum: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < minimum) {
    throw new UsageError(`${flag} wants a whole number from ${minimum} up, got "${text}"`);
  }
  return value;
}

function section(text: string): Section {
  const found = SECTIONS.find((name) => name === text);
  if (found === undefined) throw new UsageError(`--sections knows ${SECTIONS.join(", ")}, got "${text}"`);
  return found;
}
