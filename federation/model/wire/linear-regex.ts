import { RE2JS } from "re2js";

/** Matching costs the program's size times the text's length: with texts of up to 4 KiB, a few milliseconds at worst. */
const MAX_PROGRAM = 512;

/**
 * What is wrong with a regular expression; `undefined` if it runs in linear time and is small enough. The syntax
 * is RE2's: without back references and look-around, which no linear-time matcher has.
 */
export function regexProblem(pattern: string): string | undefined {
  try {
    const size = RE2JS.compile(pattern).programSize();
    return size > MAX_PROGRAM
      ? `is too large: it compiles to ${size} steps, ${MAX_PROGRAM} are allowed`
      : undefined;
  } catch (error) {
    return `is not an RE2 regular expression: ${error instanceof Error ? error.message : String(error)}`;
  }
}
