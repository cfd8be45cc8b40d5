import type { JSONWebKeySet } from "jose";
import * as z from "zod";

/** The members of a verification key that we read; a key set from outside is cut down to them before it is used. */
const verificationKey = z.object({
  kty: z.string(),
  kid: z.string().exactOptional(),
  crv: z.string().exactOptional(),
  x: z.string().exactOptional(),
  y: z.string().exactOptional(),
  use: z.string().exactOptional(),
  alg: z.string().exactOptional(),
  key_ops: z.array(z.string()).exactOptional(),
});

export const keySet = z.object({ keys: z.array(verificationKey) }) satisfies z.ZodType<JSONWebKeySet>;
