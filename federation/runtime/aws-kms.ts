import {
  DecryptCommand,
  EncryptCommand,
  GetPublicKeyCommand,
  KMSClient,
  type KMSClientConfig,
  SignCommand,
} from "@aws-sdk/client-kms";
import { createHash } from "node:crypto";
import type { AwsCredentials } from "./config.ts";
import type { ManagedKey } from "./keys.ts";
import type { Sealer } from "./sealer.ts";

const ANSWER_MS = 3_000;

export function createKmsClient(place: {
  readonly region: string;
  readonly endpoint?: string;
  readonly credentials?: AwsCredentials;
}): KMSClient {
  const config: KMSClientConfig = {
    region: place.region,
    maxAttempts: 4,
    requestHandler: { requestTimeout: ANSWER_MS },
  };
  if (place.endpoint !== undefined) config.endpoint = place.endpoint;
  if (place.credentials !== undefined) config.credentials = place.credentials;
  return new KMSClient(config);
}

/** A root key of the spec ECC_NIST_P256: KMS signs digests, so that a certificate may have any size. */
export function kmsRootKey(client: KMSClient, keyId: string): ManagedKey {
  return {
    async publicKeyDer() {
      const { PublicKey } = await client.send(new GetPublicKeyCommand({ KeyId: keyId }));
      if (PublicKey === undefined) throw new TypeError("KMS answered no public key");
      return PublicKey;
    },
    async sign(tbs) {
      const { Signature } = await client.send(
        new SignCommand({
          KeyId: keyId,
          Message: createHash("sha256").update(tbs).digest(),
          MessageType: "DIGEST",
          SigningAlgorithm: "ECDSA_SHA_256",
        }),
      );
      if (Signature === undefined) throw new TypeError("KMS answered no signature");
      return Buffer.from(Signature);
    },
  };
}

const PREFIX = "kms.";

/** Seals with a symmetric key: only who may use that key opens what lies in the table. */
export function kmsSealer(client: KMSClient, keyId: string): Sealer {
  const context = (name: string) => ({ KeyId: keyId, EncryptionContext: { isthmus: name } });
  return {
    async seal(name, text) {
      const command = new EncryptCommand({ ...context(name), Plaintext: new TextEncoder().encode(text) });
      const { CiphertextBlob } = await client.send(command);
      if (CiphertextBlob === undefined) throw new TypeError("KMS answered nothing");
      return PREFIX + Buffer.from(CiphertextBlob).toString("base64");
    },
    async open(name, sealed) {
      const CiphertextBlob = Buffer.from(sealed.slice(PREFIX.length), "base64");
      const { Plaintext } = await client.send(new DecryptCommand({ ...context(name), CiphertextBlob }));
      if (Plaintext === undefined) throw new TypeError("KMS answered nothing");
      return new TextDecoder().decode(Plaintext);
    },
  };
}
