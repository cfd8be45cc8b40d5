import { Hono } from "hono";
import type { Logger } from "../model/log.ts";
import type { Registry } from "../registry/registry.ts";
import { honoPath, type RequestBindings } from "./endpoint.ts";
import { ENDPOINTS } from "./endpoints.ts";
import { orThrow, problemError } from "./problem-error.ts";
import type { RegistryMetrics } from "./metrics.ts";
import { RateLimits } from "./rate-limit.ts";
import { createProblemRenderer } from "./render-problem.ts";

export interface AppOptions {
  /** The one that all requests are for, unless each brings its own. */
  readonly registry?: Registry;
  readonly log: Logger;
  readonly version: string;
  readonly accepting?: () => boolean;
  /** False where a request must be answered at once. */
  readonly waits?: boolean;
  /** Absent: none are told. */
  readonly metrics?: RegistryMetrics;
  /** Told of every request that was answered. */
  readonly onAnswered?: (answered: Answered) => void;
}

export interface Answered {
  readonly method: string;
  /** The pattern, or `other`. */
  readonly route: string;
  readonly status: number;
  /** It waited for news. */
  readonly held: boolean;
}

const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "PUT", "POST", "DELETE"]);

/** The registry as one fetch function: every runtime serves this. */
export function createApp(options: AppOptions): {
  readonly fetch: (request: Request, registry?: Registry) => Response | Promise<Response>;
} {
  const { log, version, accepting = () => true, waits = true, metrics } = options;
  const deps = { accepting, waits, ...(metrics === undefined ? {} : { metrics }) };
  const limits = new RateLimits();
  const app = new Hono<{ Bindings: RequestBindings }>();
  app.onError(createProblemRenderer(log));
  app.notFound((c) => {
    throw problemError("not_found", `nothing is served at ${c.req.method} ${c.req.path.slice(0, 200)}`);
  });
  for (const { method, path, handle, stateless } of ENDPOINTS) {
    app.on(method, honoPath(path), async (c) => {
      c.env.route = path;
      const { registry } = c.env;
      // Before anything is decided, so that no instance decides on what another one has changed already.
      if (stateless !== true) orThrow(await registry.refresh());
      return handle(c, { registry, ...deps });
    });
  }
  app.get("/openapi.json", async (c) => {
    const { openApiDocument } = await import("./openapi.ts");
    return c.json(openApiDocument(ENDPOINTS, version));
  });
  return {
    async fetch(request, registry = options.registry) {
      if (registry === undefined) throw new TypeError("a request needs a registry");
      const bindings: RequestBindings = { registry, limits };
      const began = metrics?.monotonicMs() ?? 0;
      const response = await app.fetch(request, bindings);
      const answered = {
        method: METHODS.has(request.method) ? request.method : "other",
        route: bindings.route ?? "other",
        status: response.status,
        held: response.headers.has("preference-applied"),
      };
      metrics?.request({ ...answered, ms: metrics.monotonicMs() - began });
      options.onAnswered?.(answered);
      return response;
    },
  };
}
