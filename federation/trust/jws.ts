/**
 * Compact JWS with exactly one text per content. Lenient parsers accept blanks, padding and stray bits inside base64url,
 * members twice, numbers written in several ways; each is a second reading of what was signed. Here a part is accepted
 * only if encoding what was decoded gives the same text again.
 */
import { type KeyObject, sign, verify } from "node:crypto";
import { err, ok, type Result } from "../model/result.ts";
import { strictBase64Url } from "./pem.ts";

/** What we sign with; nothing is ever taken from a token to choose otherwise. */
export type JwsAlgorithm = "ES256" | "Ed25519";

export interface CompactJws {
  readonly header: JsonObject;
  readonly payload: Buffer;
  /** What was signed. */
  readonly signingInput: string;
  readonly signature: Buffer;
}

export type JsonObject = { readonly [member: string]: unknown };

const SIGNATURE_BYTES = 64;

export function signJws(
  algorithm: JwsAlgorithm,
  header: { readonly typ: string; readonly [member: string]: unknown },
  payload: string | Buffer,
  key: KeyObject,
): string {
  const input = signingInput({ alg: algorithm, ...header }, payload);
  const bytes = Buffer.from(input);
  const signature =
    algorithm === "ES256"
      ? sign("sha256", bytes, { key, dsaEncoding: "ieee-p1363" })
      : sign(null, bytes, key);
  return `${input}.${signature.toString("base64url")}`;
}

/** A compact JWS in its parts, for payloads that are not worth holding as base64url too. */
export interface JwsParts {
  /** As base64url, like the signature. */
  readonly header: string;
  readonly payload: Buffer;
  readonly signature: string;
}

export function joinJws({ header, payload, signature }: JwsParts): string {
  return `${header}.${payload.toString("base64url")}.${signature}`;
}

/** Of one that we made ourselves: nothing is judged. */
export function splitJws(jws: string): JwsParts {
  const [header = "", payload = "", signature = ""] = jws.split(".");
  return { header, payload: Buffer.from(payload, "base64url"), signature };
}

// Below it, the way to another thread costs more than signing.
const LARGE_BYTES = 16 * 1024;

/** With Ed25519, which reads a payload twice: a large one on another thread where there is one. */
export async function signJwsAside(
  members: { readonly typ: string; readonly [member: string]: unknown },
  payload: Buffer,
  key: KeyObject,
): Promise<JwsParts> {
  const header = encodeHeader({ alg: "Ed25519", ...members });
  // ASCII, which needs no measuring first.
  const input = Buffer.from(`${header}.${payload.toString("base64url")}`, "latin1");
  const signature = input.length < LARGE_BYTES ? sign(null, input, key) : await signAside(input, key);
  return { header, payload, signature: signature.toString("base64url") };
}

function signAside(input: Buffer, key: KeyObject): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    sign(null, input, key, (failure, signature) => {
      if (failure === null) resolve(signature);
      else reject(failure);
    });
  });
}

function signingInput(header: object, payload: string | Buffer): string {
  return `${encodeHeader(header)}.${bytesOf(payload).toString("base64url")}`;
}

function encodeHeader(header: object): string {
  return Buffer.from(JSON.stringify(header)).toString("base64url");
}

function bytesOf(payload: string | Buffer): Buffer {
  return typeof payload === "string" ? Buffer.from(payload) : payload;
}

/** Reads without judging the signature. `members` are the header's, all of them and no other. */
export function parseJws(
  text: string,
  expected: { readonly alg: JwsAlgorithm; readonly typ: string; readonly members: readonly string[] },
  maxLength: number,
): Result<CompactJws> {
  if (text.length > maxLength) return err(`it has more than ${maxLength} characters`);
  const [encodedHeader, encodedPayload, encodedSignature, ...rest] = text.split(".", 4);
  if (encodedHeader === undefined || encodedPayload === undefined || encodedSignature === undefined) {
    return err("it does not have three parts");
  }
  const headerBytes = strictBase64Url(encodedHeader);
  const payload = strictBase64Url(encodedPayload);
  const signature = strictBase64Url(encodedSignature);
  if (rest.length > 0 || headerBytes === undefined || payload === undefined || signature === undefined) {
    return err("it is not three parts of base64url without padding");
  }
  const header = parseCanonicalObject(headerBytes);
  if (!header.ok) return err(`its header ${header.error}`);
  const { alg, typ } = header.value;
  if (alg !== expected.alg) return err(`its algorithm is not ${expected.alg}`);
  if (typ !== expected.typ) return err(`its type is not ${expected.typ}`);
  const allowed = new Set(["alg", "typ", ...expected.members]);
  const members = Object.keys(header.value);
  if (members.length !== allowed.size || !members.every((member) => allowed.has(member))) {
    return err(`its header does not have exactly ${[...allowed].join(", ")}`);
  }
  if (signature.length !== SIGNATURE_BYTES) return err("its signature is not 64 bytes");
  return ok({ header: header.value, payload, signingInput: `${encodedHeader}.${encodedPayload}`, signature });
}

export function isSignatureOf(jws: CompactJws, algorithm: JwsAlgorithm, key: KeyObject): boolean {
  const bytes = Buffer.from(jws.signingInput);
  return algorithm === "ES256"
    ? verify("sha256", bytes, key, ecdsaDer(jws.signature))
    : verify(null, bytes, key, jws.signature);
}

/** r and s as DER has them, because workerd's `verify` knows no other form. RFC 3279 §2.2.3. */
function ecdsaDer(signature: Buffer): Buffer {
  const half = signature.length / 2;
  const parts = [signature.subarray(0, half), signature.subarray(half)].map((part) => {
    let start = 0;
    while (start < half - 1 && part[start] === 0) start += 1;
    const positive = (part[start] ?? 0) >= 0x80 ? [Buffer.of(0)] : [];
    const body = Buffer.concat([...positive, part.subarray(start)]);
    return Buffer.concat([Buffer.of(0x02, body.length), body]);
  });
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.of(0x30, body.length), body]);
}

/** r and s side by side, as JWS has them (RFC 7518 §3.4), from what services that keep keys answer. */
export function derToRaw(der: Buffer): Buffer {
  const raw = Buffer.alloc(SIGNATURE_BYTES);
  const half = SIGNATURE_BYTES / 2;
  let at = 2;
  for (const end of [half, SIGNATURE_BYTES]) {
    const length = der[at + 1] ?? 0;
    const number = der.subarray(at + 2, at + 2 + length);
    const body = number.subarray(Math.max(0, number.length - half));
    body.copy(raw, end - body.length);
    at += 2 + length;
  }
  return raw;
}

/**
 * A JSON object exactly as JSON.stringify writes it. A member that occurs twice, a blank, `1e3` for 1000, an escape
 * that is not needed, bytes that are not UTF-8: all come out differently, and are refused.
 */
export function parseCanonicalObject(bytes: Buffer): Result<JsonObject> {
  const text = bytes.toString("utf8");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return err("is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return err("is not a JSON object");
  if (JSON.stringify(value) !== text || !Buffer.from(text).equals(bytes))
    return err("is not JSON in its one plain form");
  return ok(value as JsonObject);
}

/** Seconds since the epoch: a whole number, in the range that dates have. */
export function isTime(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 8_640_000_000_000;
}
