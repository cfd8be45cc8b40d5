import * as z from "zod";
import type { Issue } from "../problem.ts";
import type { Result } from "../result.ts";
import type { Snapshot } from "../snapshot.ts";
import { decode } from "./decode.ts";
import { authorizationRequests } from "./authorization-policy.ts";
import { headerName } from "./traffic-policy.ts";
import {
  egressPriority,
  egressRateLimit,
  egressTimeouts,
  egressTls,
  externalTarget,
} from "./egress-policy.ts";
import { outsideIngress } from "./ingress.ts";
import {
  address,
  apiVersion,
  federationName,
  label,
  memberName,
  port as portNumber,
  revision,
  servicePort,
  timestamp,
  trustDomain,
  version,
  workloadPattern,
} from "./fields.ts";

import { serviceProperties } from "./resource.ts";
import { snapshotRequestPath, snapshotRoute } from "./traffic-route.ts";

const serviceName = { namespace: label, name: label };

export const trustBundle = z.strictObject({
  trustDomain,
  sequence: z.int().min(0),
  x509Authorities: z.array(z.base64().min(1)),
  intermediates: z.array(z.base64().min(1)).exactOptional(),
});

const consumer = z.strictObject({ cluster: label, trustDomain, workloads: z.array(workloadPattern) });

const mode = z.enum(["observe", "enforce"]);
const positive = z.number().positive();
const amount = z.number().min(0);
/** `<cluster>/<namespace>/<name>`. */
const ruleName = z.string().min(1).max(200);
const ruleTarget = {
  name: ruleName,
  service: z.strictObject(serviceName),
  cluster: label.exactOptional(),
};

const rules = z.strictObject({
  rateLimits: z.array(
    z.strictObject({
      ...ruleTarget,
      version: version.exactOptional(),
      from: z.array(
        z.strictObject({
          workload: workloadPattern.exactOptional(),
          header: z.strictObject({ name: headerName, value: z.string() }).exactOptional(),
        }),
      ),
      requests: positive,
      unitMs: positive,
      burst: positive,
      scope: z.enum(["Local", "Shared"]),
      mode,
    }),
  ),
  backends: z.array(
    z.strictObject({
      ...ruleTarget,
      mode,
      failover: z
        .strictObject({
          levels: z.array(z.array(z.strictObject({ cluster: label, weight: amount }))),
          overprovisioning: z.number().min(1),
          panicThreshold: z.number().min(0).max(1),
          failbackDelayMs: amount,
          failbackRampMs: amount,
        })
        .exactOptional(),
      outlier: z
        .strictObject({
          consecutiveErrors: positive,
          baseEjectionMs: amount,
          maxEjectionMs: amount,
          maxEjectionPercent: amount,
        })
        .exactOptional(),
      circuit: z
        .strictObject({
          maxConnections: positive.exactOptional(),
          maxPendingRequests: amount.exactOptional(),
          maxParallelRequests: positive.exactOptional(),
        })
        .exactOptional(),
      session: z
        .strictObject({
          name: headerName,
          type: z.enum(["Cookie", "Header"]),
          absoluteTimeoutMs: amount.exactOptional(),
          permanent: z.boolean(),
        })
        .exactOptional(),
      retry: z
        .strictObject({ percent: amount, intervalMs: positive, minCount: amount, minIntervalMs: positive })
        .exactOptional(),
    }),
  ),
  rollouts: z.array(
    z.strictObject({
      ...ruleTarget,
      stable: version,
      canary: version,
      weight: z.int().min(0).max(100),
      mode: z.literal("observe").exactOptional(),
    }),
  ),
});

/** Strict: a member refuses what it does not understand whole, rather than to enforce half of it. */
export const snapshot = z.strictObject({
  apiVersion,
  kind: z.literal("Snapshot"),
  federation: federationName,
  cluster: label,
  trustDomain,
  revision,
  issuedAt: timestamp,
  bundles: z.array(trustBundle),
  denied: z.array(trustDomain),
  peers: z.array(
    z.strictObject({
      cluster: label,
      trustDomain,
      gateways: z.array(z.strictObject({ id: memberName, address })),
    }),
  ),
  imports: z.array(
    z.strictObject({
      ...serviceName,
      from: z.strictObject({ ...serviceName, cluster: label, trustDomain }),
      ports: z.array(servicePort),
      versions: z.array(version).exactOptional(),
      workloads: z.array(workloadPattern),
    }),
  ),
  exports: z.array(
    z.strictObject({ ...serviceName, ports: z.array(servicePort), consumers: z.array(consumer) }),
  ),
  offers: z
    .array(
      z.strictObject({
        ...serviceName,
        cluster: label,
        ports: z.array(servicePort),
        properties: serviceProperties.exactOptional(),
        firstSeen: timestamp,
      }),
    )
    .exactOptional(),
  ingress: z.array(outsideIngress.extend(serviceName)).exactOptional(),
  egress: z.strictObject({
    policies: z.array(
      z.strictObject({
        name: label,
        mode: z.enum(["observe", "enforce"]),
        from: z.array(workloadPattern),
        to: z.array(z.strictObject(serviceName)),
        priority: egressPriority.exactOptional(),
        external: z.array(externalTarget).exactOptional(),
        tls: egressTls.exactOptional(),
        rateLimit: egressRateLimit.exactOptional(),
        timeouts: egressTimeouts.exactOptional(),
      }),
    ),
  }),
  authorization: z
    .array(
      z.strictObject({
        name: z.string().min(1),
        namespace: label,
        services: z.array(label),
        ports: z.array(portNumber),
        to: z
          .array(
            z.strictObject({
              ports: z.array(portNumber).min(1).exactOptional(),
              ...authorizationRequests(snapshotRequestPath),
            }),
          )
          .min(1)
          .exactOptional(),
        action: z.enum(["allow", "deny"]),
        mode,
        from: z
          .array(z.strictObject({ trustDomain: trustDomain.exactOptional(), workload: workloadPattern }))
          .exactOptional(),
      }),
    )
    .exactOptional(),
  rules: rules.exactOptional(),
  routes: z.array(snapshotRoute).exactOptional(),
}) satisfies z.ZodType<Snapshot>;

export function decodeSnapshot(input: unknown): Result<Snapshot, readonly Issue[]> {
  return decode(snapshot, input);
}
