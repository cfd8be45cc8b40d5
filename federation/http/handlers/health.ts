import * as z from "zod";
import type { Endpoint } from "../endpoint.ts";

const healthy = z.object({ ok: z.boolean() });
const ready = z.object({ ready: z.boolean(), writable: z.boolean(), revision: z.int() });

export const HEALTH_ENDPOINTS: readonly Endpoint[] = [
  {
    method: "get",
    path: "/healthz",
    summary: "Whether the process lives",
    security: ["open"],
    answer: { status: 200, schema: healthy },
    stateless: true,
    handle: (c) => c.json({ ok: true }),
  },
  {
    method: "get",
    path: "/readyz",
    summary: "Whether the registry takes requests; `writable` tells whether the last change could be written",
    security: ["open"],
    answer: { status: 200, schema: ready },
    stateless: true,
    // A registry that cannot write still answers reads, and members live on those: it stays ready, and says so.
    async handle(c, { registry, accepting }) {
      const isReady = (await registry.refresh()).ok && accepting();
      const { revision } = registry.state;
      return c.json({ ready: isReady, writable: registry.writable, revision }, isReady ? 200 : 503);
    },
  },
];
