/** What every process reports of itself; equal to package.json (test/version.test.ts). */
export const VERSION = "0.1.0";
