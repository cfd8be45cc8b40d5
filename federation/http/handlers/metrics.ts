import * as z from "zod";
import { requireOperator } from "../access.ts";
import type { Endpoint } from "../endpoint.ts";
import { METRICS_TYPE } from "../metrics.ts";
import { problemError } from "../problem-error.ts";

export const METRICS_ENDPOINTS: readonly Endpoint[] = [
  {
    method: "get",
    path: "/metrics",
    summary:
      "What the registry counts of itself, as Prometheus text; only where one process serves all requests",
    security: ["operator"],
    answer: { status: 200, schema: z.string(), type: "text/plain" },
    async handle(c, { registry, metrics }) {
      await requireOperator(registry, c, "viewer");
      if (metrics === undefined)
        throw problemError("not_found", "instances come and go here: the log has the figures of each");
      return c.body(await metrics.render(registry), 200, {
        "content-type": METRICS_TYPE,
        "cache-control": "no-store",
      });
    },
  },
];
