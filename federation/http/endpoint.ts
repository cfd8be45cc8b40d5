import type { Context } from "hono";
import type * as z from "zod";
import type { RegistryMetrics } from "./metrics.ts";
import type { RateLimits } from "./rate-limit.ts";
import type { Registry } from "../registry/registry.ts";

export interface EndpointDeps {
  readonly registry: Registry;
  /** Where the process is with its life: not ready while it drains. */
  readonly accepting: () => boolean;
  /** Whether a request may be held until there is news; where a request is paid by its time, it may not. */
  readonly waits: boolean;
  /** Absent where instances come and go: what one of them counted says nothing. */
  readonly metrics?: RegistryMetrics;
}

/** What comes with each request. */
export interface RequestBindings {
  readonly registry: Registry;
  readonly limits: RateLimits;
  /** The pattern that the request fitted; absent: none. */
  route?: string;
}

/** Who may call: `token` is the join token in the body. */
export type Security = "open" | "operator" | "member" | "token";

/** One operation: what the OpenAPI document says of it, and what it does. */
export interface Endpoint {
  readonly method: "get" | "put" | "post" | "delete";
  /** `/v1/clusters/{name}` */
  readonly path: string;
  readonly summary: string;
  readonly security: readonly Security[];
  readonly body?: z.ZodType;
  readonly query?: z.ZodObject;
  /** Status and schema of the good answer; no schema: no body. */
  readonly answer: { readonly status: 200 | 201 | 204; readonly schema?: z.ZodType; readonly type?: string };
  /** Answered without asking what the federation's state is now. */
  readonly stateless?: true;
  readonly handle: (c: Context, deps: EndpointDeps) => Promise<Response> | Response;
}

/** `{name}` as Hono writes it. */
export function honoPath(path: string): string {
  return path.replace(/\{(\w+)\}/g, ":$1");
}

/** A path parameter; Hono only calls a handler whose pattern has it. */
export function pathParam(c: Context, name: string): string {
  return c.req.param(name) ?? "";
}
