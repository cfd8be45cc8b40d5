import * as z from "zod";
import type { Issue } from "../problem.ts";
import type { Result } from "../result.ts";
import { decode } from "./decode.ts";

const count = z.int().min(0);
/** Tokens may be parts of one, after a limit was changed. */
const tokens = z.number().min(0).max(1e9);
/** Milliseconds of a clock that never goes back, as its owner reads it. */
const time = z.number().min(0);
const key = z.string().min(1).max(1_024);

/** What gateways and agents tell each other beside the traffic, one JSON object a line. */
const controlMessage = z.strictObject({
  /** First, and once: the name of the process that speaks, new with every start. */
  hello: z.string().min(1).max(64).exactOptional(),
  /** Ready endpoints and all endpoints of services; `null`: it is not there any more. */
  services: z.record(key, z.tuple([count, count]).nullable()).exactOptional(),
  /** Of shared limits: how many tokens are wanted, and how many are left of earlier grants. */
  ask: z.record(key, z.tuple([tokens, tokens])).exactOptional(),
  /** Tokens of shared limits. */
  grant: z.record(key, tokens).exactOptional(),
  /** A leader asks for parts of shared limits: its own time, and how many answers of this channel it has read. */
  poll: z.tuple([time, count]).exactOptional(),
  /** The answer: that time, among whom the member looks for leaders (none: it lends nothing), whether it is no newcomer. */
  lend: z
    .strictObject({
      at: time,
      leaders: z.array(z.string().min(1).max(64)).max(1_000).readonly(),
      settled: z.boolean(),
    })
    .exactOptional(),
});
export type ControlMessage = z.output<typeof controlMessage>;

export function decodeControlMessage(input: unknown): Result<ControlMessage, readonly Issue[]> {
  return decode(controlMessage, input);
}
