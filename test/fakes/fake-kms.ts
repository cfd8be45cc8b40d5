import { execFileSync } from "node:child_process";
import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What the SDK was asked to do, as KMS's own audit trail has it. */
export interface KmsCall {
  readonly operation: string;
  readonly keyId: string;
}

/** The part of AWS KMS that a registry uses, behind its JSON protocol: AWS's own SDK talks to it. */
export interface FakeKms {
  readonly endpoint: string;
  readonly calls: readonly KmsCall[];
  /** What was given to it to encrypt. */
  readonly sealed: readonly string[];
  createSigningKey(keyId: string): KeyObject;
  createSealingKey(keyId: string): void;
  /** Another secret behind the same key: what was encrypted before is still decrypted. */
  rotateKeyMaterial(keyId: string): void;
  /** So many of the next calls are refused as too many. */
  throttle(calls: number): void;
  stop(): Promise<void>;
}

type Input = Readonly<Record<string, unknown>>;

class KmsError extends Error {}

/** Of Encrypt, and of a digest for ECDSA_SHA_256. */
const MAX_PLAINTEXT = 4_096;
const DIGEST_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

export async function startFakeKms(): Promise<FakeKms> {
  const signing = new Map<string, KeyObject>();
  const sealing = new Map<string, Buffer[]>();
  const calls: KmsCall[] = [];
  const sealed: string[] = [];
  let throttled = 0;
  const directory = mkdtempSync(join(tmpdir(), "isthmus-kms-"));

  const operations: Readonly<Record<string, (input: Input, keyId: string) => object>> = {
    GetPublicKey: (_, keyId) => {
      const publicKey = createPublicKey(keyNamed(signing, keyId)).export({ type: "spki", format: "der" });
      return { KeySpec: "ECC_NIST_P256", KeyUsage: "SIGN_VERIFY", PublicKey: publicKey.toString("base64") };
    },
    Sign: (input, keyId) => {
      const digest = Buffer.from(String(input["Message"]), "base64");
      if (input["MessageType"] !== "DIGEST" || input["SigningAlgorithm"] !== "ECDSA_SHA_256")
        throw new KmsError("InvalidKeyUsageException");
      if (digest.length !== DIGEST_BYTES) throw new KmsError("ValidationException");
      return { Signature: signDigest(directory, keyNamed(signing, keyId), digest).toString("base64") };
    },
    Encrypt: (input, keyId) => {
      const plaintext = Buffer.from(String(input["Plaintext"]), "base64");
      if (plaintext.length > MAX_PLAINTEXT) throw new KmsError("ValidationException");
      const secrets = keyNamed(sealing, keyId);
      const version = secrets.length - 1;
      sealed.push(plaintext.toString());
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv("aes-256-gcm", secrets[version] ?? "", nonce).setAAD(contextOf(input));
      const body = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
      const header = Buffer.from(JSON.stringify({ keyId, version }));
      const blob = Buffer.concat([Buffer.of(header.length), header, nonce, body]);
      return { CiphertextBlob: blob.toString("base64") };
    },
    Decrypt: (input, keyId) => {
      const blob = Buffer.from(String(input["CiphertextBlob"]), "base64");
      const end = 1 + (blob[0] ?? 0);
      const header = JSON.parse(blob.subarray(1, end).toString()) as { keyId: string; version: number };
      if (header.keyId !== keyId) throw new KmsError("IncorrectKeyException");
      const nonce = blob.subarray(end, end + NONCE_BYTES);
      const body = blob.subarray(end + NONCE_BYTES, -TAG_BYTES);
      const secret = keyNamed(sealing, keyId)[header.version] ?? "";
      const decipher = createDecipheriv("aes-256-gcm", secret, nonce)
        .setAAD(contextOf(input))
        .setAuthTag(blob.subarray(-TAG_BYTES));
      try {
        const plaintext = Buffer.concat([decipher.update(body), decipher.final()]);
        return { Plaintext: plaintext.toString("base64") };
      } catch {
        throw new KmsError("InvalidCiphertextException");
      }
    },
  };

  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => (text += String(chunk)));
    request.on("end", () => {
      const answer = (status: number, body: object): void => {
        response.writeHead(status, { "content-type": "application/x-amz-json-1.1" });
        response.end(JSON.stringify(body));
      };
      const operation = String(request.headers["x-amz-target"]).replace("TrentService.", "");
      try {
        const input = JSON.parse(text) as Input;
        const keyId = String(input["KeyId"]);
        calls.push({ operation, keyId });
        if (!String(request.headers.authorization).startsWith("AWS4-HMAC-SHA256 "))
          throw new KmsError("MissingAuthenticationTokenException");
        if (throttled > 0) {
          throttled -= 1;
          throw new KmsError("ThrottlingException");
        }
        const run = operations[operation];
        if (run === undefined) throw new KmsError("UnknownOperationException");
        answer(200, { KeyId: `arn:aws:kms:us-east-1:000000000000:key/${keyId}`, ...run(input, keyId) });
      } catch (cause) {
        if (!(cause instanceof KmsError)) throw cause;
        answer(400, { __type: cause.message, message: `${operation}: ${cause.message}` });
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new TypeError("a TCP server has an address");
  return {
    endpoint: `http://127.0.0.1:${bound.port}`,
    calls,
    sealed,
    createSigningKey(keyId) {
      const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      signing.set(keyId, createPrivateKey(privateKey.export({ type: "pkcs8", format: "pem" })));
      return publicKey;
    },
    createSealingKey: (keyId) => void sealing.set(keyId, [randomBytes(32)]),
    rotateKeyMaterial: (keyId) => void keyNamed(sealing, keyId).push(randomBytes(32)),
    throttle: (count) => void (throttled = count),
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function keyNamed<K>(keys: ReadonlyMap<string, K>, keyId: string): K {
  const key = keys.get(keyId);
  if (key === undefined) throw new KmsError("NotFoundException");
  return key;
}

function contextOf(input: Input): Buffer {
  return Buffer.from(JSON.stringify(input["EncryptionContext"] ?? {}));
}

/** By openssl: Node signs no digest that was made before. */
function signDigest(directory: string, key: KeyObject, digest: Buffer): Buffer {
  const file = join(directory, "key.pem");
  writeFileSync(file, key.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  return execFileSync("openssl", ["pkeyutl", "-sign", "-inkey", file], { input: digest });
}
