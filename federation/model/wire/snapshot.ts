import * as z from "zod";
import type { Issue } from "../problem.ts";
import type { Result } from "../result.ts";
import type { Snapshot } from "../snapshot.ts";
import { decode } from "./decode.ts";
import {
  egressPriority,
  egressRateLimit,
  egressTimeouts,
  egressTls,
  externalTarget,
} from "./egress-policy.ts";
import {
  address,
  apiVersion,
  federationName,
  label,
  memberName,
  revision,
  servicePort,
  timestamp,
  trustDomain,
  version,
  workloadPattern,
} from "./fields.ts";

import { serviceProperties } from "./resource.ts";

const serviceName = { namespace: label, name: label };

export const trustBundle = z.strictObject({
  trustDomain,
  sequence: z.int().min(0),
  x509Authorities: z.array(z.base64().min(1)),
  intermediates: z.array(z.base64().min(1)).exactOptional(),
});

const consumer = z.strictObject({ cluster: label, trustDomain, workloads: z.array(workloadPattern) });

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
}) satisfies z.ZodType<Snapshot>;

export function decodeSnapshot(input: unknown): Result<Snapshot, readonly Issue[]> {
  return decode(snapshot, input);
}
