import { OpenAPIHono } from "@hono/zod-openapi";
import type { Logger } from "../model/log.ts";
import { problemDocument } from "../model/wire/api.ts";
import type { Registry } from "../registry/registry.ts";
import { type EndpointDeps, honoPath } from "./endpoint.ts";
import { AUDIT_ENDPOINTS } from "./handlers/audit.ts";
import { CLUSTER_ENDPOINTS } from "./handlers/clusters.ts";
import { FEDERATION_ENDPOINTS } from "./handlers/federation.ts";
import { HEALTH_ENDPOINTS } from "./handlers/health.ts";
import { JOIN_ENDPOINTS } from "./handlers/join.ts";
import { MEMBER_ENDPOINTS } from "./handlers/members.ts";
import { OPERATOR_TOKEN_ENDPOINTS } from "./handlers/operator-tokens.ts";
import { RESOURCE_ENDPOINTS } from "./handlers/resources.ts";
import { SNAPSHOT_ENDPOINTS } from "./handlers/snapshot.ts";
import { problemError } from "./problem-error.ts";
import { createProblemRenderer } from "./render-problem.ts";

const ENDPOINTS = [
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
}

/** The registry as one fetch function: every runtime serves this. */
export function createApp(options: AppOptions): {
  readonly fetch: (request: Request) => Response | Promise<Response>;
} {
  const { registry, log, version, accepting = () => true } = options;
  const deps: EndpointDeps = { registry, accepting };
  const app = new OpenAPIHono();
  app.onError(createProblemRenderer(log));
  app.notFound((c) => {
    throw problemError("not_found", `nothing is served at ${c.req.method} ${c.req.path.slice(0, 200)}`);
  });
  for (const { route, handle } of ENDPOINTS) {
    app.openAPIRegistry.registerPath(route);
    app.on(route.method, honoPath(route.path), (c) => handle(c, deps));
  }
  const document = once(() => openApiDocument(app, version));
  app.get("/openapi.json", (c) => c.json(document()));
  return { fetch: (request) => app.fetch(request) };
}

function openApiDocument(app: OpenAPIHono, version: string): object {
  app.openAPIRegistry.register("Problem", problemDocument);
  app.openAPIRegistry.registerComponent("securitySchemes", "operator", { type: "http", scheme: "bearer" });
  app.openAPIRegistry.registerComponent("securitySchemes", "member", {
    type: "apiKey",
    in: "header",
    name: "Authorization",
    description: "Isthmus-Member <JWT over method, URL and body, signed by the member's SVID>",
  });
  return app.getOpenAPI31Document({ openapi: "3.1.0", info: { title: "Isthmus registry", version } });
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}
