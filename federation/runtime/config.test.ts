import { expect, test } from "vitest";
import { parseRegistryConfig } from "./config.ts";

const parse = (settings: Record<string, string>) => parseRegistryConfig((key) => settings[key]);

test("settings have defaults where they can", () => {
  expect(parse({ ISTHMUS_STATE_DIR: "state" })).toEqual({
    ok: true,
    value: { stateDir: "state", listen: { host: "127.0.0.1", port: 7070 }, logLevel: "info" },
  });
});

test("an empty setting is one that is not set", () => {
  expect(parse({ ISTHMUS_STATE_DIR: "state", ISTHMUS_FEDERATION: "", ISTHMUS_LISTEN: "" }).ok).toBe(true);
  expect(parse({ ISTHMUS_STATE_DIR: "" }).ok).toBe(false);
});

test("all mistakes are told together", () => {
  const settings = {
    ISTHMUS_LISTEN: "x",
    ISTHMUS_FEDERATION: "A B",
    ISTHMUS_LOG_LEVEL: "loud",
    ISTHMUS_STORE: "dynamo",
    ISTHMUS_DYNAMODB_TABLE: "t",
  };
  const parsed = parse(settings);
  expect(parsed.ok ? [] : parsed.error.map(({ path }) => path)).toEqual([
    "ISTHMUS_STATE_DIR",
    "ISTHMUS_LISTEN",
    "ISTHMUS_FEDERATION",
    "ISTHMUS_LOG_LEVEL",
    "ISTHMUS_STORE",
    "ISTHMUS_DYNAMODB_TABLE",
  ]);
});

test("a table needs a region, and DynamoDB elsewhere neither that nor credentials", () => {
  const dynamodb = { ISTHMUS_STATE_DIR: "state", ISTHMUS_STORE: "dynamodb" };
  const refused = parse(dynamodb);
  expect(refused.ok ? [] : refused.error.map(({ path }) => path)).toEqual(["AWS_REGION"]);
  expect(parse({ ...dynamodb, AWS_REGION: "eu-west-1", ISTHMUS_DYNAMODB_TABLE: "mesh" })).toMatchObject({
    value: { dynamoDb: { table: "mesh", region: "eu-west-1" } },
  });
  const endpoint = "http://127.0.0.1:8000";
  expect(parse({ ...dynamodb, ISTHMUS_DYNAMODB_ENDPOINT: endpoint })).toMatchObject({
    value: { dynamoDb: { table: "isthmus", endpoint, credentials: { accessKeyId: "local" } } },
  });
  expect(parse({ ...dynamodb, ISTHMUS_DYNAMODB_ENDPOINT: "localhost:8000" }).ok).toBe(false);
});
