import type { JSONWebKeySet } from "jose";
import { problem, type Problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { type JwsParts, signJwsAside } from "./jws.ts";
import { type SigningKey, verifyRegistryJws } from "./signing-key.ts";

const SNAPSHOT_TYPE = "isthmus-snapshot+jws";

// 10,000 services of a cluster make about 4 MB; beyond this a registry is broken.
const MAX_SNAPSHOT_CHARACTERS = 32 * 1024 * 1024;

/** `snapshot`: bytes of JSON. */
export function signSnapshot(snapshot: Buffer, key: SigningKey): Promise<JwsParts> {
  return signJwsAside({ typ: SNAPSHOT_TYPE, kid: key.kid }, snapshot, key.privateKey);
}

/** The payload, not yet decoded: model/wire judges what it says, the member whether it is its own and newer. */
export function verifySnapshot(jws: string, keySet: JSONWebKeySet): Promise<Result<unknown, Problem>> {
  return Promise.resolve(verifySnapshotNow(jws, keySet));
}

function verifySnapshotNow(text: string, keySet: JSONWebKeySet): Result<unknown, Problem> {
  const jws = verifyRegistryJws(text, SNAPSHOT_TYPE, keySet, MAX_SNAPSHOT_CHARACTERS);
  if (!jws.ok) return err(problem("snapshot_signature", `the snapshot cannot be believed: ${jws.error}`));
  try {
    return ok(JSON.parse(jws.value.payload.toString("utf8")));
  } catch {
    return err(problem("snapshot_malformed", "what was signed is not JSON"));
  }
}
