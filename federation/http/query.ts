import type { Context } from "hono";
import type * as z from "zod";
import { decode } from "../model/wire/decode.ts";
import { problemError } from "./problem-error.ts";
import { summary } from "./read-body.ts";

/** Query parameters as the schema wants them; an unknown one is a mistake worth telling. */
export function decodeQuery<T>(c: Context, schema: z.ZodType<T>): T {
  const decoded = decode(schema, c.req.query());
  if (decoded.ok) return decoded.value;
  throw problemError("request_invalid", `query: ${summary(decoded.error)}`, decoded.error);
}
