import { describe, inject } from "vitest";
import { runStoreConformance } from "../../../test/conformance/store.ts";
import { joinDynamoDbLocal, storeOn } from "../../../test/fakes/dynamodb-local.ts";
import { dynamoDbMissing } from "../../../test/fakes/dynamodb-missing.ts";

const missing = dynamoDbMissing();
const directory = inject("dynamoDbDir");

describe.skipIf(missing !== undefined)(missing ?? "DynamoDB Local", () => {
  runStoreConformance("DynamoDB", async () => {
    const local = await joinDynamoDbLocal(directory);
    const table = await local.createTable();
    const open = () => storeOn(local, table);
    return { open, openSecond: open };
  });
});
