import { defineConfig } from "vitest/config";
import { dynamoDbMissing } from "./test/fakes/dynamodb-missing.ts";
import type { SceneRuntime } from "./test/fakes/scene-runtime.ts";

/** All tests of the registry's HTTP interface, which every runtime passes unchanged. */
const HTTP_TESTS = "test/runtimes/registry-http.test.ts";
const OTHER_RUNTIMES: readonly SceneRuntime[] = ["node-dynamodb", "lambda-dynamodb", "workerd-dynamodb"];

/**
 * Worlds of processes that are killed, cut off and replaced for longer than all else: `npm run test:fault`. One of each kind of
 * fault stays in `npm test`: test/README.md names them.
 */
const LONG_FAULTS: readonly string[] = [
  "fault/far-gateway",
  "fault/grpc-restart",
  "fault/half-broken-registry",
  "fault/registry-writes",
  "fault/restored-registry",
  "fault/rotated-keys",
  "fault/traffic-rules",
  "fault/two-gateways",
  "fault/up-on-dynamodb",
  "kubernetes/killed",
  "kubernetes/reconcile-faults",
].map((name) => `test/${name}.test.ts`);

const missing = dynamoDbMissing();
if (missing !== undefined) process.stderr.write(`${OTHER_RUNTIMES.join(", ")}: ${missing}\n`);

export default defineConfig({
  test: {
    exclude: ["**/node_modules/**"],
    // Real processes and TLS handshakes on two shared cores: generous, so that a slow machine is not a failure.
    testTimeout: 30_000,
    hookTimeout: 30_000,
    maxWorkers: 2,
    // A process for each file would evaluate the same modules three hundred times: half a second of CPU time each.
    isolate: false,
    globalSetup: ["test/setup/dynamodb-local.ts"],
    provide: { registryRuntime: "node-sqlite" },
    projects: [
      {
        extends: true,
        test: {
          name: "main",
          include: ["{federation,gateway,agents,infra,test}/**/*.test.ts"],
          // test/clients has its own script: it wants other people's programs.
          exclude: ["**/node_modules/**", "test/clients/**", HTTP_TESTS, ...LONG_FAULTS],
        },
      },
      // Where a process more or less does not show.
      { extends: true, test: { name: "fault", include: [...LONG_FAULTS], isolate: true } },
      ...(missing === undefined ? OTHER_RUNTIMES : []).map((registryRuntime) => ({
        extends: true as const,
        test: { name: registryRuntime, include: [HTTP_TESTS], provide: { registryRuntime } },
      })),
    ],
  },
});
