import { defineConfig } from "vitest/config";
import { dynamoDbMissing } from "./test/fakes/dynamodb-missing.ts";
import type { SceneRuntime } from "./test/fakes/scene-runtime.ts";

/** All tests of the registry's HTTP interface, which every runtime passes unchanged. */
const HTTP_TESTS = "test/runtimes/registry-http.test.ts";
const OTHER_RUNTIMES: readonly SceneRuntime[] = ["node-dynamodb", "lambda-dynamodb", "workerd-dynamodb"];

const missing = dynamoDbMissing();
if (missing !== undefined) process.stderr.write(`${OTHER_RUNTIMES.join(", ")}: ${missing}\n`);

export default defineConfig({
  test: {
    exclude: ["**/node_modules/**"],
    // Real processes and TLS handshakes on two shared cores: generous, so that a slow machine is not a failure.
    testTimeout: 30_000,
    hookTimeout: 30_000,
    maxWorkers: 2,
    globalSetup: ["test/setup/dynamodb-local.ts"],
    projects: [
      {
        extends: true,
        test: {
          name: "main",
          include: ["{federation,gateway,agents,infra,test}/**/*.test.ts"],
          // test/clients has its own script: it wants other people's programs.
          exclude: ["**/node_modules/**", "test/clients/**", HTTP_TESTS],
          provide: { registryRuntime: "node-sqlite" },
        },
      },
      ...(missing === undefined ? OTHER_RUNTIMES : []).map((registryRuntime) => ({
        extends: true as const,
        test: { name: registryRuntime, include: [HTTP_TESTS], provide: { registryRuntime } },
      })),
    ],
  },
});
