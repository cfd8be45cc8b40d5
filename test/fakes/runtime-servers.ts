import { type ChildProcess, fork } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { Miniflare } from "miniflare";
import { bundle, writeBundle } from "../../infra/bundle/bundle.ts";
import type { DynamoDbLocal } from "./dynamodb-local.ts";
import { startRegistryProcess } from "./registry-process.ts";
import type { SceneRuntime } from "./scene-runtime.ts";
import { COMPATIBILITY_DATE } from "./workerd-client.ts";

/** A registry as it is deployed, behind a socket. */
export interface RuntimeServer {
  readonly url: string;
  readonly token: string;
  stop(): Promise<void>;
}

export const HOST_TOKEN = "an-admin-token-of-the-runtime-servers";

/** The settings of a registry without a disk. */
export function serverlessSettings(local: DynamoDbLocal, table: string): Record<string, string> {
  return {
    ISTHMUS_FEDERATION: "demo.mesh",
    ISTHMUS_ADMIN_TOKEN_SHA256: createHash("sha256").update(HOST_TOKEN).digest("hex"),
    ISTHMUS_SEAL_SECRET: Buffer.alloc(32, 9).toString("base64"),
    ISTHMUS_DYNAMODB_TABLE: table,
    ISTHMUS_DYNAMODB_ENDPOINT: local.endpoint,
    ISTHMUS_LOG_LEVEL: "warn",
  };
}

export async function startRuntime(
  runtime: SceneRuntime,
  stateDir: string,
  dynamoDb: () => Promise<{ readonly local: DynamoDbLocal; readonly table: string }>,
): Promise<RuntimeServer> {
  if (runtime === "node-sqlite") return startNode(stateDir, {});
  const { local, table } = await dynamoDb();
  switch (runtime) {
    case "node-dynamodb":
      return startNode(stateDir, {
        ISTHMUS_STORE: "dynamodb",
        ISTHMUS_DYNAMODB_TABLE: table,
        ISTHMUS_DYNAMODB_ENDPOINT: local.endpoint,
      });
    case "lambda-dynamodb": {
      const { url, child } = await startLambda(stateDir, serverlessSettings(local, table));
      return { url, token: HOST_TOKEN, stop: async () => void child.kill() };
    }
    case "workerd-dynamodb":
      return startWorkerd(serverlessSettings(local, table));
  }
}

async function startNode(stateDir: string, settings: Record<string, string>): Promise<RuntimeServer> {
  const { url, token, end } = await startRegistryProcess(stateDir, settings);
  return { url, token, stop: async () => void (await end("SIGTERM")) };
}

export async function startLambda(
  directory: string,
  settings: Record<string, string>,
): Promise<{ readonly url: string; readonly child: ChildProcess }> {
  const path = await writeBundle("lambda", directory);
  const host = new URL("./lambda-host.ts", import.meta.url).pathname;
  const child = fork(host, [path], { env: { PATH: process.env["PATH"], ...settings } });
  const [address] = (await once(child, "message")) as [{ readonly port: number }];
  return { url: `http://127.0.0.1:${address.port}`, child };
}

async function startWorkerd(settings: Record<string, string>): Promise<RuntimeServer> {
  const { code } = await bundle("worker");
  const worker = new Miniflare({
    modules: [{ type: "ESModule", path: "worker.mjs", contents: code }],
    compatibilityDate: COMPATIBILITY_DATE,
    compatibilityFlags: ["nodejs_compat"],
    bindings: settings,
    host: "127.0.0.1",
    port: 0,
  });
  const url = String(await worker.ready).replace(/\/$/, "");
  return { url, token: HOST_TOKEN, stop: () => worker.dispose() };
}
