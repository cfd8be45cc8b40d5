import { createRoute, OpenAPIHono, type RouteConfig } from "@hono/zod-openapi";
import * as z from "zod";
import { problemDocument } from "../model/wire/api.ts";
import type { Endpoint, Security } from "./endpoint.ts";

const SCHEMES: { readonly [S in Security]: Record<string, string[]> } = {
  open: {},
  operator: { operator: [] },
  member: { member: [] },
  token: {},
};

const PROBLEM = {
  description: "a problem (RFC 9457)",
  content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
};

/** Loaded when the document is asked for: it costs a fifth of the registry's start, and few ever read it. */
export function openApiDocument(endpoints: readonly Endpoint[], version: string): object {
  const app = new OpenAPIHono();
  const { openAPIRegistry: known } = app;
  for (const endpoint of endpoints) known.registerPath(routeOf(endpoint));
  // As a plain schema: the library names only schemas that were made after it was loaded.
  const { $schema: _schema, ...problem } = z.toJSONSchema(problemDocument);
  known.registerComponent("schemas", "Problem", problem as Record<string, unknown>);
  known.registerComponent("securitySchemes", "operator", { type: "http", scheme: "bearer" });
  known.registerComponent("securitySchemes", "member", {
    type: "apiKey",
    in: "header",
    name: "Authorization",
    description: "Isthmus-Member <JWT over method, URL and body, signed by the member's SVID>",
  });
  return app.getOpenAPI31Document({ openapi: "3.1.0", info: { title: "Isthmus registry", version } });
}

function routeOf(endpoint: Endpoint): RouteConfig {
  const { status, schema, type = "application/json" } = endpoint.answer;
  const content = schema === undefined ? {} : { content: { [type]: { schema } } };
  const body =
    endpoint.body === undefined
      ? {}
      : { body: { required: true, content: { "application/json": { schema: endpoint.body } } } };
  const query = endpoint.query === undefined ? {} : { query: endpoint.query };
  return createRoute({
    method: endpoint.method,
    path: endpoint.path,
    summary: endpoint.summary,
    security: endpoint.security.map((scheme) => SCHEMES[scheme]),
    request: { ...body, ...query, params: pathParams(endpoint.path) },
    responses: { [status]: { description: "done", ...content }, default: PROBLEM },
  });
}

function pathParams(path: string): z.ZodObject {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => name);
  return z.object(Object.fromEntries(names.map((name) => [name, z.string()])));
}
