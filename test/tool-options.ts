import { parseArgs } from "node:util";

/** What an option is when it is not given; a list: one of these words, the first unless told otherwise. */
export type Default = number | boolean | string | readonly string[];

export type Defaults = Readonly<Record<string, Default>>;

export type Options<D extends Defaults> = {
  readonly [Name in keyof D]: D[Name] extends number
    ? number
    : D[Name] extends boolean
      ? boolean
      : D[Name] extends readonly (infer Word)[]
        ? Word
        : string;
};

/** A tool's options, or what to print instead of running, and the exit code. */
export type Reading<D extends Defaults> =
  | { readonly options: Options<D> }
  | { readonly text: string; readonly exitCode: 0 | 64 };

const quoted = JSON.stringify;

export function readToolOptions<const D extends Defaults>(
  command: string,
  defaults: D,
  args: readonly string[],
): Reading<D> {
  const usage = `Usage: ${command}${Object.entries(defaults).map(usageOf).join("")}\n`;
  const flags: Record<string, { readonly type: "boolean" | "string" }> = { help: { type: "boolean" } };
  for (const [name, value] of Object.entries(defaults))
    flags[name] = { type: typeof value === "boolean" ? "boolean" : "string" };
  try {
    const { values } = parseArgs({ args: [...args], options: flags });
    if (values["help"] === true) return { text: usage, exitCode: 0 };
    const read = Object.entries(defaults).map(([name, value]) => [name, valueOf(name, value, values[name])]);
    // Each value was read by the kind of its default.
    return { options: Object.fromEntries(read) as Options<D> };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { text: `error: ${reason}\n${usage}`, exitCode: 64 };
  }
}

/** The options of this process, which ends here when they are wrong or ask for help. */
export function toolOptions<const D extends Defaults>(command: string, defaults: D): Options<D> {
  const reading = readToolOptions(command, defaults, process.argv.slice(2));
  if ("options" in reading) return reading.options;
  (reading.exitCode === 0 ? process.stdout : process.stderr).write(reading.text);
  process.exit(reading.exitCode);
}

function usageOf([name, value]: readonly [string, Default]): string {
  if (typeof value === "boolean") return ` [--${name}]`;
  return ` [--${name} ${typeof value === "object" ? value.join("|") : value}]`;
}

function valueOf(name: string, value: Default, given: unknown): unknown {
  if (typeof value === "boolean") return given ?? value;
  if (given === undefined) return typeof value === "object" ? value[0] : value;
  if (typeof value === "number") {
    const read = Number(given);
    if (given === "" || !Number.isFinite(read) || read < 0)
      throw new Error(`--${name} wants a number from 0 up, got ${quoted(given)}`);
    return read;
  }
  if (typeof value === "object" && !value.some((word) => word === given))
    throw new Error(`--${name} wants one of ${value.join(", ")}, got ${quoted(given)}`);
  return given;
}
