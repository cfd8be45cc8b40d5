import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DYNAMODB_LOCAL } from "./dynamodb-missing.ts";
import { freePort } from "./free-ports.ts";
import { inject } from "vitest";
import type { Clock } from "../../federation/registry/clock.ts";
import type { DynamoDbStore } from "../../federation/store/dynamodb/dynamodb-store.ts";
import { createClient, createTable, openDynamoDbStore } from "../../federation/store/dynamodb/open.ts";

export const PID_FILE = "pid";
const PORT_FILE = "port";
const PATIENCE_MS = 60_000;
const POLL_MS = 50;

export const CREDENTIALS = { accessKeyId: "local", secretAccessKey: "local" } as const;
export const REGION = "us-east-1";

export interface DynamoDbLocal {
  readonly endpoint: string;
  readonly client: DynamoDBClient;
  /** A new table's name. */
  createTable(): Promise<string>;
}

/** The one instance that everybody who names this directory shares. */
export async function joinDynamoDbLocal(directory: string): Promise<DynamoDbLocal> {
  const endpoint = `http://127.0.0.1:${await portOf(directory)}`;
  const client = createClient({ table: "", region: REGION, endpoint, credentials: CREDENTIALS });
  let tables = 0;
  return {
    endpoint,
    client,
    async createTable() {
      tables += 1;
      const table = `isthmus-${process.pid}-${tables}-${Math.random().toString(36).slice(2, 10)}`;
      await createTable(client, table);
      return table;
    },
  };
}

/** One of our own, for programs that are not tests. */
export async function startDynamoDbLocal(): Promise<DynamoDbLocal & { stop(): void }> {
  const directory = mkdtempSync(join(tmpdir(), "isthmus-dynamodb-"));
  const local = await joinDynamoDbLocal(directory);
  const pid = Number(readFileSync(join(directory, PID_FILE), "utf8"));
  return { ...local, stop: () => void process.kill(pid, "SIGKILL") };
}

async function portOf(directory: string): Promise<number> {
  try {
    mkdirSync(join(directory, "starting"));
    await start(directory);
  } catch (cause) {
    // Somebody else starts it.
    if (!(cause instanceof Error && "code" in cause && cause.code === "EEXIST")) throw cause;
  }
  const file = join(directory, PORT_FILE);
  await poll(() => existsSync(file));
  return Number(readFileSync(file, "utf8"));
}

async function start(directory: string): Promise<void> {
  const [version = ""] = readdirSync(DYNAMODB_LOCAL);
  const home = join(DYNAMODB_LOCAL, version);
  const port = await freePort();
  const quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx768m"];
  const library = `-Djava.library.path=${join(home, "DynamoDBLocal_lib")}`;
  const options = ["-inMemory", "-sharedDb", "-disableTelemetry", "-port", String(port)];
  const jar = join(home, "DynamoDBLocal.jar");
  const child = spawn("java", [...quick, library, "-jar", jar, ...options], {
    stdio: "ignore",
    detached: true,
  });
  child.unref();
  writeFileSync(join(directory, PID_FILE), String(child.pid));
  await poll(() => answers(port));
  writeFileSync(join(directory, `${PORT_FILE}.new`), String(port));
  renameSync(join(directory, `${PORT_FILE}.new`), join(directory, PORT_FILE));
}

function answers(port: number): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}/`).then(
    () => true,
    () => false,
  );
}

async function poll(done: () => boolean | Promise<boolean>): Promise<void> {
  const start = performance.now();
  while (!(await done())) {
    if (performance.now() - start > PATIENCE_MS) throw new Error("DynamoDB Local did not start");
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

const TABLES = new Map<string, Promise<string>>();

/** One table for each directory that a test keeps its registry's state in. */
export async function tableOf(
  directory: string,
): Promise<{ readonly local: DynamoDbLocal; readonly table: string }> {
  const local = await joinDynamoDbLocal(inject("dynamoDbDir"));
  const table = TABLES.get(directory) ?? local.createTable();
  TABLES.set(directory, table);
  return { local, table: await table };
}

const CLOCK: Clock = {
  now: () => Date.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return { cancel: () => clearTimeout(timer) };
  },
};

export function storeOn(local: DynamoDbLocal, table: string): DynamoDbStore {
  const place = { table, region: REGION, endpoint: local.endpoint };
  const tools = { clock: CLOCK, random: Math.random, newId: () => crypto.randomUUID() };
  return openDynamoDbStore(local.client, place, tools).store;
}
