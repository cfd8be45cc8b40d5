import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { PID_FILE } from "../fakes/dynamodb-local.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** Where the tests of this run share their one DynamoDB Local. */
    readonly dynamoDbDir: string;
  }
}

/** Starts nothing: the first test that needs DynamoDB Local does. Ends what was started. */
export function setup({ provide }: TestProject): () => void {
  const directory = mkdtempSync(join(tmpdir(), "isthmus-dynamodb-"));
  provide("dynamoDbDir", directory);
  return () => {
    try {
      process.kill(Number(readFileSync(join(directory, PID_FILE), "utf8")), "SIGKILL");
    } catch {
      // Nobody needed it.
    }
    rmSync(directory, { recursive: true, force: true });
  };
}
