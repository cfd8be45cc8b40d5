import * as z from "zod";
import type { Issue } from "../problem.ts";
import type { Result } from "../result.ts";
import type { TextDelta } from "../text-delta.ts";
import { decode } from "./decode.ts";
import { apiVersion, revision } from "./fields.ts";

/** Name of the instance manipulation, as RFC 3229 has it in `A-IM` and `IM`. */
export const DELTA_MANIPULATION = "isthmus-delta";
/** On every answer about a snapshot, once keys were rotated: the sequence of the set of keys that now sign. */
export const KEY_SET_HEADER = "isthmus-key-set";
/** Of a snapshot whose digest is signed; only members that name it in `Accept` read it. */
export const DIGEST_MEDIA_TYPE = "application/isthmus-digest+jose";
export const DELTA_MEDIA_TYPE = "application/isthmus-delta+json";

/**
 * A newer snapshot as what changed since the one that the member has. `header` and `signature` are those of the whole
 * new one: put together with the outcome they are its JWS, and its verification is the mark that nothing is missing.
 */
export interface SnapshotDelta {
  readonly apiVersion: "isthmus.dev/v1alpha1";
  readonly kind: "SnapshotDelta";
  readonly from: number;
  readonly to: number;
  readonly header: string;
  /** Of the payload's text. */
  readonly patch: TextDelta;
  readonly signature: string;
}

const base64Url = z.string().regex(/^[A-Za-z0-9_-]+$/);
const position = z.int().min(0);

export const snapshotDelta = z.strictObject({
  apiVersion,
  kind: z.literal("SnapshotDelta"),
  from: revision,
  to: revision,
  header: base64Url,
  patch: z.array(z.union([z.string(), z.tuple([position, position])])),
  signature: base64Url,
}) satisfies z.ZodType<SnapshotDelta>;

export function decodeSnapshotDelta(input: unknown): Result<SnapshotDelta, readonly Issue[]> {
  return decode(snapshotDelta, input);
}
