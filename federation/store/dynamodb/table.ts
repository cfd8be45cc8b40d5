import {
  type AttributeValue,
  BatchWriteItemCommand,
  DeleteItemCommand,
  type DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  TransactionCanceledException,
  type TransactWriteItem,
  TransactWriteItemsCommand,
  UpdateItemCommand,
  type WriteRequest,
} from "@aws-sdk/client-dynamodb";
import type { Clock } from "../../registry/clock.ts";
import type { Row } from "./document.ts";
import type { Key } from "./keys.ts";

/** The table did not answer, refused for too long, or is not there. */
export class TableUnavailable extends Error {}

export interface TableOptions {
  readonly client: DynamoDBClient;
  readonly name: string;
  readonly clock: Clock;
  readonly random: () => number;
}

/** One call with its repetitions takes no longer: whoever waits for the registry gave up by then. */
const DEADLINE_MS = 10_000;
/** Of transactions that met another one, and of batches that were taken in part. The client repeats the rest by itself. */
const MAX_ATTEMPTS = 8;
const BASE_PAUSE_MS = 10;
const MAX_PAUSE_MS = 500;
/** Of BatchWriteItem. */
const BATCH = 25;
const BATCH_BYTES = 8 * 1024 * 1024;

export type Transacted = "written" | "refused";

export interface Range {
  readonly pk: string;
  /** Exclusive. */
  readonly after?: string;
  /** Exclusive. */
  readonly before?: string;
  readonly prefix?: string;
  readonly keysOnly?: boolean;
  /** Rows at most. */
  readonly limit?: number;
  /** May lag a second behind and costs half. */
  readonly eventual?: boolean;
}

/** The few verbs that the store needs of its table; pages are turned and refusals waited out in here. */
export class Table {
  readonly #options: TableOptions;

  constructor(options: TableOptions) {
    this.#options = options;
  }

  async get(key: Key): Promise<Row | undefined> {
    const command = new GetItemCommand({
      TableName: this.#options.name,
      Key: keyOf(key),
      ConsistentRead: true,
    });
    return (await this.#send((options) => this.#options.client.send(command, options))).Item;
  }

  /** False where `condition` does not hold. */
  async put(row: Row, condition?: { readonly expression: string; readonly values?: Row }): Promise<boolean> {
    const command = new PutItemCommand({
      TableName: this.#options.name,
      Item: row,
      ...(condition === undefined ? {} : { ConditionExpression: condition.expression }),
      ...(condition?.values === undefined ? {} : { ExpressionAttributeValues: condition.values }),
    });
    return this.#conditional((options) => this.#options.client.send(command, options));
  }

  async update(key: Key, change: { readonly set: string; readonly condition: string; readonly values: Row }) {
    const command = new UpdateItemCommand({
      TableName: this.#options.name,
      Key: keyOf(key),
      UpdateExpression: change.set,
      ConditionExpression: change.condition,
      ExpressionAttributeValues: change.values,
    });
    return this.#conditional((options) => this.#options.client.send(command, options));
  }

  async delete(key: Key): Promise<void> {
    const command = new DeleteItemCommand({ TableName: this.#options.name, Key: keyOf(key) });
    await this.#send((options) => this.#options.client.send(command, options));
  }

  /** In the order of `sk`, all pages. */
  async query(range: Range): Promise<readonly Row[]> {
    const rows: Row[] = [];
    let from: Row | undefined;
    const { limit = Number.POSITIVE_INFINITY } = range;
    do {
      const command = new QueryCommand({
        TableName: this.#options.name,
        ...rangeExpression(range),
        ConsistentRead: range.eventual !== true,
        ...(range.keysOnly === true ? { ProjectionExpression: "pk, sk" } : {}),
        ...(Number.isFinite(limit) ? { Limit: limit - rows.length } : {}),
        ...(from === undefined ? {} : { ExclusiveStartKey: from }),
      });
      const page = await this.#send((options) => this.#options.client.send(command, options));
      rows.push(...(page.Items ?? []));
      from = page.LastEvaluatedKey;
    } while (from !== undefined && rows.length < limit);
    return rows;
  }

  /** All or nothing; `refused`: a condition does not hold. `token` makes repetitions the same transaction. */
  async transact(items: readonly TransactWriteItem[], token: string): Promise<Transacted> {
    const command = new TransactWriteItemsCommand({
      TransactItems: items.map((item) => this.#named(item)),
      ClientRequestToken: token,
    });
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#send((options) => this.#options.client.send(command, options));
        return "written";
      } catch (cause) {
        const codes = cancellationCodes(cause);
        if (codes === undefined) throw cause;
        if (codes.includes("ConditionalCheckFailed")) return "refused";
        if (attempt >= MAX_ATTEMPTS)
          throw new TableUnavailable(`the transaction met others: ${codes.join(", ")}`);
        await this.#pause(attempt);
      }
    }
  }

  putAll(rows: readonly Row[]): Promise<void> {
    return this.#batch(rows.map((row) => ({ PutRequest: { Item: row } })));
  }

  deleteAll(rows: readonly Row[]): Promise<void> {
    return this.#batch(
      rows.map((row) => ({ DeleteRequest: { Key: { pk: row["pk"] ?? NONE, sk: row["sk"] ?? NONE } } })),
    );
  }

  async #batch(requests: readonly WriteRequest[]): Promise<void> {
    let left = [...requests];
    for (let attempt = 0; left.length > 0; ) {
      const now = takeBatch(left);
      const command = new BatchWriteItemCommand({ RequestItems: { [this.#options.name]: now } });
      const answer = await this.#send((options) => this.#options.client.send(command, options));
      const refused = answer.UnprocessedItems?.[this.#options.name] ?? [];
      left = [...refused, ...left.slice(now.length)];
      attempt = refused.length === now.length ? attempt + 1 : 0;
      if (attempt >= MAX_ATTEMPTS) throw new TableUnavailable("the table is throttled");
      if (refused.length > 0) await this.#pause(attempt + 1);
    }
  }

  #named(item: TransactWriteItem): TransactWriteItem {
    const TableName = this.#options.name;
    if (item.Put !== undefined) return { Put: { ...item.Put, TableName } };
    if (item.Update !== undefined) return { Update: { ...item.Update, TableName } };
    throw new TypeError("a transaction puts and updates");
  }

  async #conditional(run: Call<unknown>): Promise<boolean> {
    try {
      await this.#send(run);
      return true;
    } catch (cause) {
      if (cause instanceof Refused) return false;
      throw cause;
    }
  }

  async #send<T>(run: Call<T>): Promise<T> {
    try {
      return await run({ abortSignal: AbortSignal.timeout(DEADLINE_MS) });
    } catch (cause) {
      if (cause instanceof TransactionCanceledException) throw cause;
      if (nameOf(cause) === "ConditionalCheckFailedException") throw new Refused();
      throw new TableUnavailable(describe(cause, this.#options.name));
    }
  }

  #pause(attempt: number): Promise<void> {
    const { clock, random } = this.#options;
    const ms = Math.min(BASE_PAUSE_MS * 2 ** attempt, MAX_PAUSE_MS) * random();
    return new Promise((resolve) => void clock.after(ms, resolve));
  }
}

type Call<T> = (options: { readonly abortSignal: AbortSignal }) => Promise<T>;

class Refused extends Error {}

const NONE: AttributeValue = { S: "" };

export function keyOf({ pk, sk }: Key): Row {
  return { pk: { S: pk }, sk: { S: sk } };
}

function rangeExpression({ pk, after, before, prefix }: Range) {
  const values: Row = { ":pk": { S: pk } };
  if (prefix !== undefined) {
    const KeyConditionExpression = "pk = :pk AND begins_with(sk, :prefix)";
    return { KeyConditionExpression, ExpressionAttributeValues: { ...values, ":prefix": { S: prefix } } };
  }
  if (after !== undefined) {
    const KeyConditionExpression = "pk = :pk AND sk > :after";
    return { KeyConditionExpression, ExpressionAttributeValues: { ...values, ":after": { S: after } } };
  }
  if (before !== undefined) {
    const KeyConditionExpression = "pk = :pk AND sk < :before";
    return { KeyConditionExpression, ExpressionAttributeValues: { ...values, ":before": { S: before } } };
  }
  return { KeyConditionExpression: "pk = :pk", ExpressionAttributeValues: values };
}

function takeBatch(requests: readonly WriteRequest[]): WriteRequest[] {
  const taken: WriteRequest[] = [];
  let bytes = 0;
  for (const request of requests) {
    bytes += request.PutRequest?.Item?.["body"]?.B?.length ?? 0;
    if (taken.length === BATCH || (taken.length > 0 && bytes > BATCH_BYTES)) break;
    taken.push(request);
  }
  return taken;
}

function cancellationCodes(cause: unknown): readonly string[] | undefined {
  if (!(cause instanceof TransactionCanceledException)) return undefined;
  return (cause.CancellationReasons ?? []).flatMap(({ Code }) =>
    Code === undefined || Code === "None" ? [] : [Code],
  );
}

function nameOf(cause: unknown): string {
  return cause instanceof Error ? cause.name : "";
}

function describe(cause: unknown, table: string): string {
  const name = nameOf(cause);
  if (name === "ResourceNotFoundException")
    return `there is no table ${table}: isthmus registry migrate makes it`;
  if (name === "AbortError" || name === "TimeoutError") return `table ${table} did not answer in time`;
  return cause instanceof Error
    ? `table ${table}: ${name}: ${cause.message}`
    : `table ${table}: ${String(cause)}`;
}
