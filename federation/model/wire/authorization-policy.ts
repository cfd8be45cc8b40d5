import * as z from "zod";
import type { AuthorizationPolicySpec } from "../authorization-policy.ts";
import { alsoCheck, textField, uniqueBy } from "./decode.ts";
import { label, port, workloadPattern } from "./fields.ts";

const MAX_TARGETS = 16;
const MAX_SOURCES = 256;
const MAX_PORTS = 64;

const source = alsoCheck(
  z.strictObject({
    workload: workloadPattern.exactOptional(),
    namespace: label.exactOptional(),
    cluster: label.exactOptional(),
  }),
  (value, report) => {
    if (typeof value === "object" && value !== null && Object.keys(value).length === 0)
      report([], "must say at least one of workload, namespace, cluster; leave `from` out for every caller");
  },
);

export const authorizationPolicySpec = z.strictObject({
  targetRefs: alsoCheck(
    z
      .array(z.strictObject({ kind: z.literal("Service"), name: label }))
      .min(1)
      .max(MAX_TARGETS),
    uniqueBy("target", (item) => textField(item, "name")),
  ).exactOptional(),
  action: z.enum(["allow", "deny"]),
  from: z.array(source).max(MAX_SOURCES).exactOptional(),
  to: z
    .array(z.strictObject({ ports: z.array(port).min(1).max(MAX_PORTS) }))
    .min(1)
    .max(MAX_TARGETS)
    .exactOptional(),
  mode: z.enum(["observe", "enforce"]).exactOptional(),
}) satisfies z.ZodType<AuthorizationPolicySpec>;
