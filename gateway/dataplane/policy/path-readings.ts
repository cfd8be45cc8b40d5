/** Whether the server behind may take a path for another one, which no rule by path may let pass: dot segments, doubled or encoded slashes and dots. */
export function hasTwoReadings(path: string): boolean {
  return /\/\/|\\|;|\/\.{1,2}(?:\/|$)|%2e|%2f|%5c|%00|%25/i.test(path);
}
