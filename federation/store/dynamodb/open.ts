import {
  CreateTableCommand,
  DynamoDBClient,
  type DynamoDBClientConfig,
  UpdateTimeToLiveCommand,
  waitUntilTableExists,
} from "@aws-sdk/client-dynamodb";
import type { Clock } from "../../registry/clock.ts";
import { DynamoDbArchive } from "./archive.ts";
import { DynamoDbStore } from "./dynamodb-store.ts";
import { Table } from "./table.ts";
import { DynamoDbVault } from "./vault.ts";

export interface TablePlace {
  readonly table: string;
  readonly region: string;
  /** Elsewhere than at AWS: DynamoDB Local. */
  readonly endpoint?: string;
  readonly credentials?: {
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken?: string;
  };
}

export interface StoreTools {
  readonly clock: Clock;
  readonly random: () => number;
  /** A new name each time, 36 characters at most: of changes. */
  readonly newId: () => string;
}

/** With the pauses between them, six tries end before the caller's patience does. */
const CLIENT: DynamoDBClientConfig = { maxAttempts: 6, retryMode: "standard" };
const CONNECT_MS = 1_000;
const ANSWER_MS = 3_000;
const TABLE_READY_S = 60;

/** What the table charged, and what had to be repeated: throttled, late or failed. */
export interface TableCost {
  readonly read: number;
  readonly write: number;
  readonly retries: number;
}

const READS: ReadonlySet<string> = new Set(["GetItemCommand", "QueryCommand", "BatchGetItemCommand"]);
const WRITES: ReadonlySet<string> = new Set([
  "PutItemCommand",
  "UpdateItemCommand",
  "DeleteItemCommand",
  "BatchWriteItemCommand",
  "TransactWriteItemsCommand",
]);

/** `onCall` is told what each call of the table's items cost. */
export function createClient(place: TablePlace, onCall?: (cost: TableCost) => void): DynamoDBClient {
  const { region, endpoint, credentials } = place;
  const client = new DynamoDBClient({
    ...CLIENT,
    region,
    requestHandler: { connectionTimeout: CONNECT_MS, requestTimeout: ANSWER_MS },
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
  });
  if (onCall !== undefined) countCosts(client, onCall);
  return client;
}

function countCosts(client: DynamoDBClient, onCall: (cost: TableCost) => void): void {
  client.middlewareStack.add(
    (next, { commandName = "" }) =>
      async (args) => {
        const [reads, writes] = [READS.has(commandName), WRITES.has(commandName)];
        if (!reads && !writes) return next(args);
        const input = { ...args.input, ReturnConsumedCapacity: "TOTAL" } as typeof args.input;
        try {
          const done = await next({ ...args, input });
          const units = unitsOf(done.output);
          onCall({ read: reads ? units : 0, write: writes ? units : 0, retries: retriesOf(done.output) });
          return done;
        } catch (cause) {
          onCall({ read: 0, write: 0, retries: retriesOf(cause) });
          throw cause;
        }
      },
    { step: "initialize", name: "isthmusCosts" },
  );
}

function unitsOf(output: object): number {
  const consumed: unknown = "ConsumedCapacity" in output ? output.ConsumedCapacity : undefined;
  const parts: readonly unknown[] = Array.isArray(consumed) ? consumed : [consumed];
  return parts.reduce<number>((sum, part) => {
    const has = typeof part === "object" && part !== null && "CapacityUnits" in part;
    return sum + (has && typeof part.CapacityUnits === "number" ? part.CapacityUnits : 0);
  }, 0);
}

function retriesOf(answer: unknown): number {
  if (typeof answer !== "object" || answer === null || !("$metadata" in answer)) return 0;
  const { attempts = 1 } = answer.$metadata as { readonly attempts?: number };
  return attempts - 1;
}

export function openDynamoDbStore(
  client: DynamoDBClient,
  place: TablePlace,
  tools: StoreTools,
): { readonly store: DynamoDbStore; readonly vault: DynamoDbVault; readonly archive: DynamoDbArchive } {
  const table = new Table({ client, name: place.table, clock: tools.clock, random: tools.random });
  return {
    store: new DynamoDbStore(table, tools.newId),
    vault: new DynamoDbVault(table),
    archive: new DynamoDbArchive(table, tools.clock),
  };
}

/** Makes the table where it is missing; answers whether it was. In production infra/terraform makes it. */
export async function createTable(client: DynamoDBClient, table: string): Promise<boolean> {
  try {
    await client.send(
      new CreateTableCommand({
        TableName: table,
        BillingMode: "PAY_PER_REQUEST",
        AttributeDefinitions: [
          { AttributeName: "pk", AttributeType: "S" },
          { AttributeName: "sk", AttributeType: "S" },
        ],
        KeySchema: [
          { AttributeName: "pk", KeyType: "HASH" },
          { AttributeName: "sk", KeyType: "RANGE" },
        ],
      }),
    );
  } catch (cause) {
    if (cause instanceof Error && cause.name === "ResourceInUseException") return false;
    throw cause;
  }
  await waitUntilTableExists({ client, maxWaitTime: TABLE_READY_S, minDelay: 1 }, { TableName: table });
  // Only removes what has expired already; nothing depends on it.
  const TimeToLiveSpecification = { AttributeName: "expires", Enabled: true };
  await client.send(new UpdateTimeToLiveCommand({ TableName: table, TimeToLiveSpecification }));
  return true;
}
