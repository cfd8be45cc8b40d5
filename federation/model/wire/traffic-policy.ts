import * as z from "zod";
import type {
  BackendTrafficPolicySpec,
  Origin,
  RateLimitSpec,
  RolloutProgress,
  RolloutSpec,
  TargetRef,
} from "../traffic-policy.ts";
import { isProtectedField } from "../traffic-route.ts";
import { alsoCheck, textField, uniqueBy } from "./decode.ts";
import {
  budgetInterval,
  duration,
  label,
  rateInterval,
  timestamp,
  trustDomain,
  version,
  workloadPattern,
} from "./fields.ts";
import { PROTECTED } from "./traffic-route.ts";

const MAX_TARGETS = 16;
const MAX_ORIGINS = 64;
const MAX_LEVELS = 16;
const MAX_LEVEL_CLUSTERS = 64;
const MAX_STEPS = 50;
const MAX_WEIGHT = 1_000_000;
const MAX_LIMIT = 10_000_000;

/** RFC 9110 §5.6.2. */
export const headerName = z
  .string()
  .max(256)
  .regex(/^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/, "must be a header name");
/** RFC 6265 has the same alphabet for cookies. */
const sessionName = headerName.max(128);

const mode = z.enum(["observe", "enforce"]);
const percent = z.int().min(0).max(100);
const count = z.int().min(0).max(1_000_000);

const targetRef = z.strictObject({
  kind: z.enum(["ServiceImport", "Service"]),
  name: label,
}) satisfies z.ZodType<TargetRef>;

const targetRefs = alsoCheck(
  z.array(targetRef).min(1).max(MAX_TARGETS),
  uniqueBy("target", (item) => `${textField(item, "kind")}/${textField(item, "name")}`),
);

const origin = alsoCheck(
  z.strictObject({
    workload: workloadPattern.exactOptional(),
    namespace: label.exactOptional(),
    cluster: label.exactOptional(),
    trustDomain: trustDomain.exactOptional(),
    header: z.strictObject({ name: headerName, value: z.string().max(4_096) }).exactOptional(),
  }),
  (value, report) => {
    if (typeof value === "object" && value !== null && Object.keys(value).length === 0)
      report([], "must say at least one of workload, namespace, cluster, trustDomain, header");
  },
) satisfies z.ZodType<Origin>;

export const rateLimitSpec = z.strictObject({
  targetRefs,
  version: version.exactOptional(),
  from: z.array(origin).min(1).max(MAX_ORIGINS).exactOptional(),
  limit: z.strictObject({
    requests: z.int().min(1).max(MAX_LIMIT),
    unit: z.enum(["Second", "Minute", "Hour"]),
    burst: z.int().min(1).max(MAX_LIMIT).exactOptional(),
  }),
  scope: z.enum(["Local", "Shared"]).exactOptional(),
  mode: mode.exactOptional(),
}) satisfies z.ZodType<RateLimitSpec>;

const weightedCluster = z.strictObject({
  cluster: label,
  weight: z.int().min(0).max(MAX_WEIGHT).exactOptional(),
});

const priorities = alsoCheck(
  z
    .array(z.strictObject({ clusters: z.array(weightedCluster).min(1).max(MAX_LEVEL_CLUSTERS) }))
    .min(1)
    .max(MAX_LEVELS),
  (value, report) => {
    const seen = new Set<string>();
    arrayOf(value).forEach((level, index) => {
      arrayOf(Reflect.get(Object(level), "clusters")).forEach((item, position) => {
        const name = typeof item === "object" && item !== null ? textField(item, "cluster") : undefined;
        if (name === undefined) return;
        if (seen.has(name))
          report(
            [index, "clusters", position, "cluster"],
            `duplicate cluster "${name}": it has a place already`,
          );
        seen.add(name);
      });
    });
  },
);

const failover = z.strictObject({
  priorities: priorities.exactOptional(),
  overprovisioningPercent: z.int().min(100).max(1_000).exactOptional(),
  panicThresholdPercent: percent.exactOptional(),
  failback: z
    .strictObject({ delay: duration.exactOptional(), ramp: duration.exactOptional() })
    .exactOptional(),
});

const outlierDetection = z.strictObject({
  consecutiveErrors: z.int().min(1).max(1_000).exactOptional(),
  baseEjectionTime: duration.exactOptional(),
  maxEjectionTime: duration.exactOptional(),
  maxEjectionPercent: percent.exactOptional(),
});

const circuitBreaker = z.strictObject({
  maxConnections: count.min(1).exactOptional(),
  maxPendingRequests: count.exactOptional(),
  maxParallelRequests: count.min(1).exactOptional(),
});

const sessionPersistence = alsoCheck(
  z.strictObject({
    sessionName,
    type: z.enum(["Cookie", "Header"]).exactOptional(),
    absoluteTimeout: duration.exactOptional(),
    cookieConfig: z
      .strictObject({ lifetimeType: z.enum(["Session", "Permanent"]).exactOptional() })
      .exactOptional(),
  }),
  (value, report) => {
    const given = Object(value) as { readonly [field: string]: unknown };
    const name = textField(given, "sessionName");
    if (given["type"] === "Header" && name !== undefined && isProtectedField(name))
      report(["sessionName"], PROTECTED);
    const lifetime: unknown = Reflect.get(Object(given["cookieConfig"]), "lifetimeType");
    if (given["type"] === "Header" && given["cookieConfig"] !== undefined)
      report(["cookieConfig"], "is only for type Cookie");
    // As GEP-1619 demands: a cookie that outlives the browser needs to say for how long.
    if (lifetime === "Permanent" && given["absoluteTimeout"] === undefined)
      report(["absoluteTimeout"], "is required where cookieConfig.lifetimeType is Permanent");
  },
);

const retryConstraint = z.strictObject({
  budget: z
    .strictObject({ percent: percent.exactOptional(), interval: budgetInterval.exactOptional() })
    .exactOptional(),
  minRetryRate: z
    .strictObject({ count: count.exactOptional(), interval: rateInterval.exactOptional() })
    .exactOptional(),
});

export const backendTrafficPolicySpec = alsoCheck(
  z.strictObject({
    targetRefs,
    mode: mode.exactOptional(),
    failover: failover.exactOptional(),
    outlierDetection: outlierDetection.exactOptional(),
    circuitBreaker: circuitBreaker.exactOptional(),
    sessionPersistence: sessionPersistence.exactOptional(),
    retryConstraint: retryConstraint.exactOptional(),
  }),
  (value, report) => {
    const given = Object(value) as { readonly [field: string]: unknown };
    const owns = arrayOf(given["targetRefs"]).some(
      (ref) => textField(Object(ref) as object, "kind") === "Service",
    );
    if (owns && given["failover"] !== undefined)
      report(["failover"], "is the consumer's to decide: target its ServiceImport");
  },
) satisfies z.ZodType<BackendTrafficPolicySpec>;

const versionRef = z.strictObject({ version });

export const rolloutSpec = alsoCheck(
  z.strictObject({
    targetRef,
    stable: versionRef,
    canary: versionRef,
    steps: z
      .array(
        z.strictObject({
          setWeight: percent,
          pause: z.strictObject({ duration: duration.exactOptional() }).exactOptional(),
        }),
      )
      .min(1)
      .max(MAX_STEPS),
    analysis: z
      .strictObject({
        successRate: z.number().min(0).max(100).exactOptional(),
        latency: z
          .strictObject({ percentile: z.union([z.literal(50), z.literal(90), z.literal(99)]), max: duration })
          .exactOptional(),
        minRequests: z.int().min(1).max(1_000_000).exactOptional(),
      })
      .exactOptional(),
    mode: mode.exactOptional(),
  }),
  (value, report) => {
    const given = Object(value) as { readonly [field: string]: unknown };
    const [stable, canary] = ["stable", "canary"].map((field) =>
      textField(Object(given[field]) as object, "version"),
    );
    if (canary !== undefined && stable === canary)
      report(["canary", "version"], "is the stable version itself");
    let last = -1;
    arrayOf(given["steps"]).forEach((step, index) => {
      const weight: unknown = Reflect.get(Object(step), "setWeight");
      if (typeof weight !== "number") return;
      if (weight < last)
        report(["steps", index, "setWeight"], "is below the step before: a rollout only grows");
      last = weight;
    });
  },
) satisfies z.ZodType<RolloutSpec>;

export const rolloutProgress = z.strictObject({
  phase: z.enum(["Observing", "Progressing", "Paused", "Succeeded", "RolledBack", "Aborted"]),
  step: z.int().min(0),
  weight: percent,
  since: timestamp,
  message: z.string(),
}) satisfies z.ZodType<RolloutProgress>;

function arrayOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}
