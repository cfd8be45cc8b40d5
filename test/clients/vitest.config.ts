import { defineConfig } from "vitest/config";

/** `npm run test:clients`: real clients and servers from outside the project, over real processes. */
export default defineConfig({
  test: {
    dir: import.meta.dirname,
    testTimeout: 60_000,
    hookTimeout: 90_000,
    // Each file starts a federation of processes: one at a time.
    maxWorkers: 1,
  },
});
