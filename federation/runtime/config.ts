import { type Address, parseAddress } from "../model/address.ts";
import type { LogLevel } from "../model/log.ts";
import type { Issue } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { federationName } from "../model/wire/fields.ts";

/** Settings of a registry process, from its environment. */
export interface RegistryConfig {
  readonly stateDir: string;
  readonly listen: Address;
  /** Needed at the first start; later the state directory knows, and a different name is refused. */
  readonly federation?: string;
  readonly logLevel: LogLevel;
  /** Absent: SQLite in the state directory. */
  readonly dynamoDb?: DynamoDbSettings;
}

export interface DynamoDbSettings {
  readonly table: string;
  readonly region: string;
  readonly endpoint?: string;
  /** Absent: those that the AWS environment of the process gives. */
  readonly credentials?: AwsCredentials;
}

export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

// Loopback: a registry is put on a network on purpose, behind something that speaks TLS.
const DEFAULT_LISTEN = "127.0.0.1:7070";
export const LOG_LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/** All mistakes at once. */
export function parseRegistryConfig(
  get: (key: string) => string | undefined,
): Result<RegistryConfig, readonly Issue[]> {
  const issues: Issue[] = [];
  const complain = (path: string, message: string): void => void issues.push({ path, message });
  // An empty value is how shells and charts spell "not set".
  const stateDir = get("ISTHMUS_STATE_DIR") || "";
  if (stateDir === "") complain("ISTHMUS_STATE_DIR", "is required: the directory that holds keys and store");
  const listen = parseAddress(get("ISTHMUS_LISTEN") || DEFAULT_LISTEN);
  if (!listen.ok) complain("ISTHMUS_LISTEN", listen.error);
  const federation = get("ISTHMUS_FEDERATION") || undefined;
  if (federation !== undefined && !federationName.safeParse(federation).success)
    complain("ISTHMUS_FEDERATION", `"${federation}" is not a DNS name such as "acme.mesh"`);
  const level = get("ISTHMUS_LOG_LEVEL") || "info";
  const logLevel = LOG_LEVELS.find((known) => known === level);
  if (logLevel === undefined)
    complain("ISTHMUS_LOG_LEVEL", `"${level}" is not one of ${LOG_LEVELS.join(", ")}`);
  const dynamoDb = parseStore(get, complain);
  if (issues.length > 0 || !listen.ok || logLevel === undefined) return err(issues);
  const base = { stateDir, listen: listen.value, logLevel, ...(dynamoDb === undefined ? {} : { dynamoDb }) };
  return ok(federation === undefined ? base : { ...base, federation });
}

type Get = (key: string) => string | undefined;
type Complain = (path: string, message: string) => void;

function parseStore(get: Get, complain: Complain): DynamoDbSettings | undefined {
  const store = get("ISTHMUS_STORE") || "sqlite";
  if (store === "dynamodb") return parseDynamoDb(get, complain);
  if (store !== "sqlite") complain("ISTHMUS_STORE", `"${store}" is not one of sqlite, dynamodb`);
  for (const key of ["ISTHMUS_DYNAMODB_TABLE", "ISTHMUS_DYNAMODB_ENDPOINT"])
    if (get(key)) complain(key, "belongs to ISTHMUS_STORE=dynamodb");
  return undefined;
}

// Of DynamoDB Local: it asks for credentials and a region, and does not look at them.
const LOCAL = { accessKeyId: "local", secretAccessKey: "local" };
const LOCAL_REGION = "us-east-1";
export const DEFAULT_TABLE = "isthmus";

/** Where the table is; shared with the runtimes that know no other store. */
export function parseDynamoDb(get: Get, complain: Complain): DynamoDbSettings | undefined {
  const table = get("ISTHMUS_DYNAMODB_TABLE") || DEFAULT_TABLE;
  if (!/^[A-Za-z0-9_.-]{3,255}$/.test(table))
    complain("ISTHMUS_DYNAMODB_TABLE", `"${table}" is not a DynamoDB table's name`);
  const endpoint = get("ISTHMUS_DYNAMODB_ENDPOINT") || undefined;
  if (endpoint !== undefined && !/^https?:$/.test(URL.parse(endpoint)?.protocol ?? ""))
    complain("ISTHMUS_DYNAMODB_ENDPOINT", `"${endpoint}" is not an http(s) URL`);
  const region = get("AWS_REGION") || get("AWS_DEFAULT_REGION") || (endpoint && LOCAL_REGION);
  if (!region) {
    complain("AWS_REGION", "is required: the region of the table");
    return undefined;
  }
  const credentials = parseCredentials(get) ?? (endpoint === undefined ? undefined : LOCAL);
  return {
    table,
    region,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
  };
}

function parseCredentials(get: Get): AwsCredentials | undefined {
  const accessKeyId = get("AWS_ACCESS_KEY_ID");
  const secretAccessKey = get("AWS_SECRET_ACCESS_KEY");
  const sessionToken = get("AWS_SESSION_TOKEN");
  if (!accessKeyId || !secretAccessKey) return undefined;
  return { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) };
}
