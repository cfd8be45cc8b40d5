import * as z from "zod";
import type { AuthorizationPolicySpec } from "../authorization-policy.ts";
import { alsoCheck, textField, uniqueBy } from "./decode.ts";
import { method } from "./egress-policy.ts";
import { label, port, workloadPattern } from "./fields.ts";
import { requestPath } from "./traffic-route.ts";

const MAX_TARGETS = 16;
const MAX_SOURCES = 256;
const MAX_PORTS = 64;
const MAX_METHODS = 32;
const MAX_PATHS = 64;

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

/** HTTP's part of a target; the snapshot has it too. */
export function authorizationRequests(path: typeof requestPath) {
  return {
    methods: z.array(method).min(1).max(MAX_METHODS).exactOptional(),
    paths: z.array(path).min(1).max(MAX_PATHS).exactOptional(),
  };
}

const target = alsoCheck(
  z.strictObject({
    ports: z.array(port).min(1).max(MAX_PORTS).exactOptional(),
    ...authorizationRequests(requestPath),
  }),
  (value, report) => {
    if (typeof value === "object" && value !== null && Object.keys(value).length === 0)
      report([], "must say at least one of ports, methods, paths; leave `to` out for everything");
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
  to: z.array(target).min(1).max(MAX_TARGETS).exactOptional(),
  mode: z.enum(["observe", "enforce"]).exactOptional(),
}) satisfies z.ZodType<AuthorizationPolicySpec>;
