/** Everything a command may know of or do to the world around it; `main.ts` makes the real one, tests make their own. */
export interface Terminal {
  /** Data, one line or several, to stdout. */
  out(text: string): void;
  /** Progress, warnings, hints and errors, to stderr. */
  err(text: string): void;
  readonly outIsTerminal: boolean;
  readonly errIsTerminal: boolean;
  env(name: string): string | undefined;
  /** Milliseconds since the epoch. */
  now(): number;
  /** Milliseconds with fractions, for measuring. */
  elapsed(): number;
  /** 0 <= x < 1 */
  random(): number;
  readonly home: string;
  /** How the user starts this program: `isthmus` or `npx isthmus`; hints are meant to be pasted. */
  readonly program: string;
  stdin(): Promise<string>;
  /** Aborted by the first SIGINT, SIGTERM or SIGHUP once someone asks for it; the reason is the signal's name. */
  interrupted(): AbortSignal;
}
