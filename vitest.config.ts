import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{federation,gateway,agents,test}/**/*.test.ts"],
    exclude: ["**/node_modules/**"],
    // Real processes and TLS handshakes on two shared cores: generous, so that a slow machine is not a failure.
    testTimeout: 30_000,
    hookTimeout: 30_000,
    maxWorkers: 2,
    globalSetup: ["test/setup/dynamodb-local.ts"],
  },
});
