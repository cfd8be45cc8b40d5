import { Hono } from "hono";
import type { Logger } from "../model/log.ts";
import type { Registry } from "../registry/registry.ts";
import { type Endpoint, type EndpointDeps, honoPath } from "./endpoint.ts";
import { AUDIT_ENDPOINTS } from "./handlers/audit.ts";
import { CLUSTER_ENDPOINTS } from "./handlers/clusters.ts";
import { FEDERATION_ENDPOINTS } from "./handlers/federation.ts";
import { HEALTH_ENDPOINTS } from "./handlers/health.ts";
import { JOIN_ENDPOINTS } from "./handlers/join.ts";
import { MEMBER_ENDPOINTS } from "./handlers/members.ts";
import { OPERATOR_TOKEN_ENDPOINTS } from "./handlers/operator-tokens.ts";
import { RESOURCE_ENDPOINTS } from "./handlers/resources.ts";
import { SNAPSHOT_ENDPOINTS } from "./handlers/snapshot.ts";
import { orThrow, problemError } from "./problem-error.ts";
import { createProblemRenderer } from "./render-problem.ts";

const ENDPOINTS: readonly Endpoint[] = [
  ...HEALTH_ENDPOINTS,
  ...FEDERATION_ENDPOINTS,
  ...CLUSTER_ENDPOINTS,
  ...JOIN_ENDPOINTS,
  ...MEMBER_ENDPOINTS,
  ...SNAPSHOT_ENDPOINTS,
  ...RESOURCE_ENDPOINTS,
  ...AUDIT_ENDPOINTS,
  ...OPERATOR_TOKEN_ENDPOINTS,
];

export interface AppOptions {
  readonly registry: Registry;
  readonly log: Logger;
  readonly version: string;
  readonly accepting?: () => boolean;
  /** False where a request must be answered at once. */
  readonly waits?: boolean;
}

/** The registry as one fetch function: every runtime serves this. */
export function createApp(options: AppOptions): {
  readonly fetch: (request: Request) => Response | Promise<Response>;
} {
  const { registry, log, version, accepting = () => true, waits = true } = options;
  const deps: EndpointDeps = { registry, accepting, waits };
  const app = new Hono();
  app.onError(createProblemRenderer(log));
  app.notFound((c) => {
    throw problemError("not_found", `nothing is served at ${c.req.method} ${c.req.path.slice(0, 200)}`);
  });
  for (const { method, path, handle, stateless } of ENDPOINTS) {
    app.on(method, honoPath(path), async (c) => {
      // Before anything is decided, so that no instance decides on what another one has changed already.
      if (stateless !== true) orThrow(await registry.refresh());
      return handle(c, deps);
    });
  }
  app.get("/openapi.json", async (c) => {
    const { openApiDocument } = await import("./openapi.ts");
    return c.json(openApiDocument(ENDPOINTS, version));
  });
  return { fetch: (request) => app.fetch(request) };
}
