import { hash } from "node:crypto";
import type { JSONWebKeySet } from "jose";
import { problem, type Problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { joinJws, type JwsParts, signJws, signJwsAside, splitJws } from "./jws.ts";
import { strictBase64Url } from "./pem.ts";
import { type SigningKey, verifyRegistryJws } from "./signing-key.ts";

/**
 * `whole` is a JWS of the snapshot. `digest` is a JWS of the snapshot's SHA-256 in whose place the snapshot itself stands:
 * Ed25519 reads what it signs twice and needs it as base64url, for a large snapshot eight times the work.
 */
export type SnapshotForm = "whole" | "digest";

const TYPES: { readonly [F in SnapshotForm]: string } = {
  whole: "isthmus-snapshot+jws",
  digest: "isthmus-snapshot-digest+jws",
};

// 10,000 services of a cluster make about 4 MB; beyond this a registry is broken.
const MAX_SNAPSHOT_CHARACTERS = 32 * 1024 * 1024;

// Header, digest and signature take a fifth of it.
const MAX_DIGEST_CHARACTERS = 2_048;

/** `snapshot`: bytes of JSON. */
export async function signSnapshot(snapshot: Buffer, key: SigningKey, form: SnapshotForm): Promise<JwsParts> {
  const header = { typ: TYPES[form], kid: key.kid };
  if (form === "whole") return signJwsAside(header, snapshot, key.privateKey);
  const signed = signJws("Ed25519", header, digestOf(snapshot), key.privateKey);
  return { ...splitJws(signed), payload: snapshot };
}

/** What it says of itself; `header` as base64url. */
export function formOf({ header }: Pick<JwsParts, "header">): SnapshotForm {
  return Buffer.from(header, "base64url").includes(`"typ":"${TYPES.digest}"`) ? "digest" : "whole";
}

function digestOf(bytes: Buffer): Buffer {
  return hash("sha256", bytes, "buffer");
}

/** The payload, not yet decoded: model/wire judges what it says, the member whether it is its own and newer. */
export function verifySnapshot(jws: string, keySet: JSONWebKeySet): Promise<Result<unknown, Problem>> {
  return Promise.resolve(verifySnapshotNow(jws, keySet));
}

function verifySnapshotNow(text: string, keySet: JSONWebKeySet): Result<unknown, Problem> {
  const signed = signedBytes(text, keySet);
  if (!signed.ok)
    return err(problem("snapshot_signature", `the snapshot cannot be believed: ${signed.error}`));
  try {
    return ok(JSON.parse(signed.value.toString("utf8")));
  } catch {
    return err(problem("snapshot_malformed", "what was signed is not JSON"));
  }
}

function signedBytes(text: string, keySet: JSONWebKeySet): Result<Buffer> {
  if (text.length > MAX_SNAPSHOT_CHARACTERS)
    return err(`it has more than ${MAX_SNAPSHOT_CHARACTERS} characters`);
  const [header = "", payload = "", signature = "", ...rest] = text.split(".", 4);
  if (formOf({ header }) === "whole") {
    const jws = verifyRegistryJws(text, TYPES.whole, keySet, MAX_SNAPSHOT_CHARACTERS);
    return jws.ok ? ok(jws.value.payload) : jws;
  }
  const snapshot = strictBase64Url(payload);
  if (snapshot === undefined || rest.length > 0)
    return err("it is not three parts of base64url without padding");
  const signed = joinJws({ header, payload: digestOf(snapshot), signature });
  const jws = verifyRegistryJws(signed, TYPES.digest, keySet, MAX_DIGEST_CHARACTERS);
  return jws.ok ? ok(snapshot) : jws;
}
