import type { Result } from "../model/result.ts";
import type { ExitCode } from "./exit.ts";
import { type Failure, fail } from "./failure.ts";
import type { Format } from "./output/format.ts";
import { choosePaint, type Paint } from "./output/paint.ts";
import type { Terminal } from "./terminal.ts";

/** One run of one command: what was typed, and where the answer goes. */
export interface Invocation {
  readonly terminal: Terminal;
  /** Positional arguments, in order; optional ones may be missing. */
  readonly args: readonly string[];
  readonly flags: Flags;
  readonly format: Format;
  /** For stdout. */
  readonly paint: Paint;
  /** For stderr. */
  readonly paintErr: Paint;
}

export type Outcome = Result<ExitCode, Failure>;
export type Command = (invocation: Invocation) => Promise<Outcome>;

export interface Flags {
  text(name: string): string | undefined;
  list(name: string): readonly string[];
  has(name: string): boolean;
}

/** Reads commander's untyped options; a flag's type is checked where it is used. */
export function createFlags(values: Readonly<Record<string, unknown>>): Flags {
  return {
    text(name) {
      const value = values[name];
      return typeof value === "string" ? value : undefined;
    },
    list(name) {
      const value = values[name];
      return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
    },
    has: (name) => values[name] === true,
  };
}

export function createInvocation(
  terminal: Terminal,
  args: readonly string[],
  flags: Flags,
  format: Format,
): Invocation {
  const wishes = { flag: flags.text("color"), noColor: terminal.env("NO_COLOR"), term: terminal.env("TERM") };
  return {
    terminal,
    args,
    flags,
    format,
    paint: choosePaint({ ...wishes, terminal: terminal.outIsTerminal }),
    paintErr: choosePaint({ ...wishes, terminal: terminal.errIsTerminal }),
  };
}

/** A hint is for people: whoever reads JSON finds the same in the data. */
export function hint({ terminal, paintErr }: Invocation, label: string, text: string): void {
  terminal.err(`${paintErr("dim", `${label}:`)} ${text}`);
}

export function usage(detail: string, fix?: string) {
  return fail("usage", detail, fix === undefined ? {} : { fix });
}
