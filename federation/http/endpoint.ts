import { createRoute, type RouteConfig } from "@hono/zod-openapi";
import type { Context } from "hono";
import * as z from "zod";
import type { Registry } from "../registry/registry.ts";

export interface EndpointDeps {
  readonly registry: Registry;
  /** Where the process is with its life: not ready while it drains. */
  readonly accepting: () => boolean;
}

/** One operation: what it is called in the OpenAPI document, and what it does. */
export interface Endpoint {
  readonly route: RouteConfig;
  readonly handle: (c: Context, deps: EndpointDeps) => Promise<Response> | Response;
}

export type Security = "open" | "operator" | "member" | "token";

export interface EndpointSpec {
  readonly method: "get" | "put" | "post" | "delete";
  /** `/v1/clusters/{name}` */
  readonly path: string;
  readonly summary: string;
  readonly security: readonly Security[];
  readonly body?: z.ZodType;
  readonly query?: z.ZodObject;
  /** Status and schema of the good answer; no schema: no body, or not JSON. */
  readonly answer: { readonly status: 200 | 201 | 204; readonly schema?: z.ZodType; readonly type?: string };
  readonly handle: Endpoint["handle"];
}

const SCHEMES: { readonly [S in Security]: Record<string, string[]> } = {
  open: {},
  operator: { operator: [] },
  member: { member: [] },
  token: {},
};

export function endpoint(spec: EndpointSpec): Endpoint {
  const { status, schema, type = "application/json" } = spec.answer;
  const content = schema === undefined ? {} : { content: { [type]: { schema } } };
  const body =
    spec.body === undefined
      ? {}
      : { body: { required: true, content: { "application/json": { schema: spec.body } } } };
  const route = createRoute({
    method: spec.method,
    path: spec.path,
    summary: spec.summary,
    security: spec.security.map((scheme) => SCHEMES[scheme]),
    request: {
      ...body,
      params: pathParams(spec.path),
      ...(spec.query === undefined ? {} : { query: spec.query }),
    },
    responses: {
      [status]: { description: "done", ...content },
      default: {
        description: "a problem (RFC 9457)",
        content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
      },
    },
  });
  return { route, handle: spec.handle };
}

function pathParams(path: string): z.ZodObject {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => name);
  return z.object(Object.fromEntries(names.map((name) => [name, z.string()])));
}

/** `{name}` as Hono writes it. */
export function honoPath(path: string): string {
  return path.replace(/\{(\w+)\}/g, ":$1");
}

/** A path parameter; Hono only calls a handler whose pattern has it. */
export function pathParam(c: Context, name: string): string {
  return c.req.param(name) ?? "";
}
