import { type ChildProcess, execFileSync } from "node:child_process";
import { createServer, type Server } from "node:http";
import {
  createCipheriv,
  createDecipheriv,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  X509Certificate,
} from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { lambdaHandler } from "../../federation/runtime/lambda-events.ts";
import { createServerless } from "../../federation/runtime/serverless.ts";
import { bundle, LIMITS } from "../../infra/bundle/bundle.ts";
import { tableOf } from "../fakes/dynamodb-local.ts";
import { dynamoDbMissing } from "../fakes/dynamodb-missing.ts";
import { eventOf, lambdaTools, type LambdaAnswer } from "../fakes/lambda-client.ts";
import { createManualClock } from "../fakes/manual-clock.ts";
import { HOST_TOKEN, serverlessSettings, startLambda } from "../fakes/runtime-servers.ts";
import { useTempDirs } from "../fakes/temp-dir.ts";

const directory = useTempDirs();
const missing = dynamoDbMissing();
/** Of our own: loading the bundle and answering the first request, not starting Node. */
const COLD_START_US = 400_000;

let child: ChildProcess | undefined;
let kms: Server | undefined;
afterEach(() => {
  child?.kill();
  kms?.close();
});

test.each(["lambda", "worker"] as const)("the bundle for %s is as small as it may be", async (target) => {
  const { bytes } = await bundle(target);
  expect(bytes).toBeGreaterThan(100_000);
  expect(bytes).toBeLessThan(LIMITS[target]);
});

describe.skipIf(missing !== undefined)(missing ?? "a Lambda function", () => {
  test("starts cold within 400 ms of CPU time", async () => {
    const path = directory();
    const { local, table } = await tableOf(path);
    const lambda = await startLambda(path, serverlessSettings(local, table));
    child = lambda.child;
    expect((await fetch(`${lambda.url}/v1/federation`)).status).toBe(200);
    const cpu = (await (await fetch(`${lambda.url}/host/cpu`)).json()) as { readonly first: number };
    console.log(`cold start to first byte: ${Math.round(cpu.first / 1_000)} ms of CPU time`);
    expect(cpu.first).toBeLessThan(COLD_START_US);
  });

  test("answers a load balancer's events and the clock's", async () => {
    const { local, table } = await tableOf(directory());
    const tools = lambdaTools(serverlessSettings(local, table), createManualClock());
    const handler = lambdaHandler(createServerless(tools));
    const request = new Request("http://lb/v1/clusters?dryRun=x", {
      headers: { authorization: `Bearer ${HOST_TOKEN}` },
    });
    const answer = (await handler(await eventOf(request, "alb"))) as LambdaAnswer;
    expect(answer.statusCode).toBe(200);
    expect(await handler({ source: "aws.events" })).toBeUndefined();
  });

  test("says nothing about its settings where they are wrong", async () => {
    const lines: string[] = [];
    const tools = { ...lambdaTools({}, createManualClock()), write: (line: string) => void lines.push(line) };
    const answer = await createServerless(tools).fetch(new Request("http://lambda/v1/federation"));
    expect(answer.status).toBe(503);
    expect(await answer.text()).not.toMatch(/ISTHMUS_/);
    expect(lines.join()).toContain("ISTHMUS_FEDERATION");
  });

  test("keeps its root in KMS: only digests and sealed keys go there, and no key is in the table", async () => {
    const { local, table } = await tableOf(directory());
    const { url, root, operations } = await startKms();
    const { ISTHMUS_SEAL_SECRET: _secret, ...settings } = serverlessSettings(local, table);
    const tools = lambdaTools(
      { ...settings, ISTHMUS_SEAL_KMS_KEY: "seal", ISTHMUS_ROOT_KMS_KEY: "root", ISTHMUS_KMS_ENDPOINT: url },
      createManualClock(Date.now()),
    );
    const first = await createServerless(tools).fetch(new Request("http://lambda/v1/federation"));
    expect(first.status).toBe(200);
    const again = await createServerless(tools).fetch(new Request("http://lambda/v1/federation"));
    expect(await again.json()).toMatchObject({
      snapshotKeys: ((await first.json()) as object & { snapshotKeys: object }).snapshotKeys,
    });
    const { DynamoDBClient, ScanCommand } = await import("@aws-sdk/client-dynamodb");
    expect(local.client).toBeInstanceOf(DynamoDBClient);
    const rows = (await local.client.send(new ScanCommand({ TableName: table }))).Items ?? [];
    expect(JSON.stringify(rows)).not.toContain("PRIVATE KEY");
    const vault = rows.filter(({ pk }) => pk?.S === "vault");
    expect(vault.map(({ sk }) => sk?.S).sort()).toEqual(["root", "signing"]);
    expect(new Set(operations)).toEqual(new Set(["GetPublicKey", "Sign", "Encrypt", "Decrypt"]));
    expect(root.certificate?.verify(root.publicKey)).toBe(true);
  });
});

/** The four operations of KMS that we use, with keys of this process. */
async function startKms() {
  const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const secret = randomBytes(32);
  const operations: string[] = [];
  const root: { publicKey: KeyObject; certificate?: X509Certificate } = { publicKey: pair.publicKey };
  const answers: Record<string, (body: Record<string, unknown>) => object> = {
    GetPublicKey: () => ({
      PublicKey: pair.publicKey.export({ format: "der", type: "spki" }).toString("base64"),
    }),
    Sign({ Message, MessageType }) {
      if (MessageType !== "DIGEST") throw new Error("only digests are signed");
      return {
        Signature: signDigest(pair.privateKey, Buffer.from(String(Message), "base64")).toString("base64"),
      };
    },
    Encrypt({ Plaintext, EncryptionContext }) {
      const text = Buffer.from(String(Plaintext), "base64");
      const pem = /-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----/.exec(text.toString());
      if (pem !== null) root.certificate = new X509Certificate(pem[0]);
      const cipher = createCipheriv("aes-256-gcm", secret, Buffer.alloc(12));
      cipher.setAAD(Buffer.from(JSON.stringify(EncryptionContext)));
      const sealed = Buffer.concat([cipher.update(text), cipher.final()]);
      return { CiphertextBlob: Buffer.concat([cipher.getAuthTag(), sealed]).toString("base64") };
    },
    Decrypt({ CiphertextBlob, EncryptionContext }) {
      const blob = Buffer.from(String(CiphertextBlob), "base64");
      const decipher = createDecipheriv("aes-256-gcm", secret, Buffer.alloc(12));
      decipher.setAAD(Buffer.from(JSON.stringify(EncryptionContext)));
      decipher.setAuthTag(blob.subarray(0, 16));
      const text = Buffer.concat([decipher.update(blob.subarray(16)), decipher.final()]);
      return { Plaintext: text.toString("base64") };
    },
  };
  kms = createServer((request, response) => {
    const operation = String(request.headers["x-amz-target"]).replace("TrentService.", "");
    operations.push(operation);
    let body = "";
    request.on("data", (chunk) => (body += String(chunk)));
    request.on("end", () => {
      response.setHeader("content-type", "application/x-amz-json-1.1");
      response.end(JSON.stringify(answers[operation]?.(JSON.parse(body)) ?? {}));
    });
  });
  kms.listen(0, "127.0.0.1");
  await once(kms, "listening");
  const address = kms.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return { url: `http://127.0.0.1:${port}`, root, operations };
}

/** As it is, which Node cannot: it hashes first. */
function signDigest(key: KeyObject, digest: Buffer): Buffer {
  expect(digest).toHaveLength(32);
  const file = join(directory(), "root.pem");
  writeFileSync(file, key.export({ format: "pem", type: "pkcs8" }), { mode: 0o600 });
  return execFileSync("openssl", ["pkeyutl", "-sign", "-inkey", file], { input: digest });
}
