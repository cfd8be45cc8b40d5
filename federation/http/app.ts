import { Hono } from "hono";
import type { Logger } from "../model/log.ts";
import type { Registry } from "../registry/registry.ts";
import { honoPath, type RequestBindings } from "./endpoint.ts";
import { ENDPOINTS } from "./endpoints.ts";
import { orThrow, problemError } from "./problem-error.ts";
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
}

/** The registry as one fetch function: every runtime serves this. */
export function createApp(options: AppOptions): {
  readonly fetch: (request: Request, registry?: Registry) => Response | Promise<Response>;
} {
  const { log, version, accepting = () => true, waits = true } = options;
  const limits = new RateLimits();
  const app = new Hono<{ Bindings: RequestBindings }>();
  app.onError(createProblemRenderer(log));
  app.notFound((c) => {
    throw problemError("not_found", `nothing is served at ${c.req.method} ${c.req.path.slice(0, 200)}`);
  });
  for (const { method, path, handle, stateless } of ENDPOINTS) {
    app.on(method, honoPath(path), async (c) => {
      const { registry } = c.env;
      // Before anything is decided, so that no instance decides on what another one has changed already.
      if (stateless !== true) orThrow(await registry.refresh());
      return handle(c, { registry, accepting, waits });
    });
  }
  app.get("/openapi.json", async (c) => {
    const { openApiDocument } = await import("./openapi.ts");
    return c.json(openApiDocument(ENDPOINTS, version));
  });
  return {
    fetch(request, registry = options.registry) {
      if (registry === undefined) throw new TypeError("a request needs a registry");
      return app.fetch(request, { registry, limits } satisfies RequestBindings);
    },
  };
}
