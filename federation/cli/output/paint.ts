import { styleText } from "node:util";

export type Style = "red" | "green" | "yellow" | "bold" | "dim" | "cyan";
export type Paint = (style: Style, text: string) => string;

export const PLAIN: Paint = (_style, text) => text;

const COLORED: Paint = (style, text) => styleText(style, text, { validateStream: false });

export interface ColorWishes {
  /** `--color` */
  readonly flag: string | undefined;
  readonly noColor: string | undefined;
  readonly term: string | undefined;
  readonly terminal: boolean;
}

/** The flag wins; then NO_COLOR (any value that is not empty); then whether anyone is looking. */
export function choosePaint(wishes: ColorWishes): Paint {
  if (wishes.flag === "always") return COLORED;
  if (wishes.flag === "never" || (wishes.noColor !== undefined && wishes.noColor !== "")) return PLAIN;
  return wishes.terminal && wishes.term !== "dumb" ? COLORED : PLAIN;
}
