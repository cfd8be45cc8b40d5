/** Reported to the registry; kept equal to package.json by test/architecture.test.ts. */
export const VERSION = "0.1.0";
