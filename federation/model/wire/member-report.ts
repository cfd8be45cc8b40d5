import * as z from "zod";
import type { Issue } from "../problem.ts";
import type { MemberReport } from "../resource.ts";
import type { Result } from "../result.ts";
import { decode } from "./decode.ts";
import { address, label, port, portProtocol, revision } from "./fields.ts";

const MAX_LISTENERS = 10_000;
const MAX_TUNNELS = 10_000;
const MAX_CANARIES = 1_000;
const problemCode = z.string().regex(/^ISTH-[0-9]{4}$/, "must be a problem code such as ISTH-1051");
const short = z.string().max(512);

export const memberReport = z.strictObject({
  role: z.enum(["gateway", "agent", "controller"]),
  version: z.string().min(1).max(64),
  appliedRevision: revision,
  state: z.enum(["applied", "refused"]),
  code: problemCode.exactOptional(),
  advertise: address.exactOptional(),
  admin: address.exactOptional(),
  listeners: z
    .array(
      z.strictObject({
        workload: short,
        service: short,
        port,
        address,
        protocol: z.strictObject({ name: portProtocol, why: short }).exactOptional(),
        way: z.enum(["address", "proxy", "sni"]).exactOptional(),
      }),
    )
    .max(MAX_LISTENERS),
  tunnels: z
    .array(
      z.strictObject({
        cluster: label,
        address,
        state: z.enum(["up", "connecting", "down"]),
        code: problemCode.exactOptional(),
      }),
    )
    .max(MAX_TUNNELS),
  canaries: z
    .array(
      z.strictObject({
        name: short,
        requests: z.int().min(0),
        failures: z.int().min(0),
        latency: z.array(z.int().min(0)).max(64),
      }),
    )
    .max(MAX_CANARIES)
    .exactOptional(),
}) satisfies z.ZodType<MemberReport>;

export function decodeMemberReport(input: unknown): Result<MemberReport, readonly Issue[]> {
  return decode(memberReport, input);
}
