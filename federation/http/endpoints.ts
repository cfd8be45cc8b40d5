import type { Endpoint } from "./endpoint.ts";
import { AUDIT_ENDPOINTS } from "./handlers/audit.ts";
import { CLUSTER_ENDPOINTS } from "./handlers/clusters.ts";
import { FEDERATION_ENDPOINTS } from "./handlers/federation.ts";
import { HEALTH_ENDPOINTS } from "./handlers/health.ts";
import { JOIN_ENDPOINTS } from "./handlers/join.ts";
import { METRICS_ENDPOINTS } from "./handlers/metrics.ts";
import { MEMBER_ENDPOINTS } from "./handlers/members.ts";
import { OPERATOR_TOKEN_ENDPOINTS } from "./handlers/operator-tokens.ts";
import { RESOURCE_ENDPOINTS } from "./handlers/resources.ts";
import { ROLLOUT_ENDPOINTS } from "./handlers/rollouts.ts";
import { SIGNING_KEY_ENDPOINTS } from "./handlers/signing-keys.ts";
import { SNAPSHOT_ENDPOINTS } from "./handlers/snapshot.ts";

/** Every operation of the registry: what is served is what the OpenAPI document says. */
export const ENDPOINTS: readonly Endpoint[] = [
  ...HEALTH_ENDPOINTS,
  ...METRICS_ENDPOINTS,
  ...FEDERATION_ENDPOINTS,
  ...CLUSTER_ENDPOINTS,
  ...JOIN_ENDPOINTS,
  ...MEMBER_ENDPOINTS,
  ...SNAPSHOT_ENDPOINTS,
  ...SIGNING_KEY_ENDPOINTS,
  ...RESOURCE_ENDPOINTS,
  ...ROLLOUT_ENDPOINTS,
  ...AUDIT_ENDPOINTS,
  ...OPERATOR_TOKEN_ENDPOINTS,
];
