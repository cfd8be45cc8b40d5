import type { Context } from "hono";
import * as z from "zod";
import { requireMember } from "../access.ts";
import { type Endpoint, pathParam } from "../endpoint.ts";
import { problemError } from "../problem-error.ts";

/** Proxies commonly cut what is silent for longer. */
const MAX_WAIT_SECONDS = 60;

export const SNAPSHOT_ENDPOINTS: readonly Endpoint[] = [
  {
    method: "get",
    path: "/v1/clusters/{name}/snapshot",
    summary:
      "The cluster's signed snapshot. `If-None-Match` with its ETag answers 304; `Prefer: wait=N` waits up to N seconds for news first",
    security: ["member"],
    answer: { status: 200, schema: z.string(), type: "application/jose" },
    async handle(c, { registry, accepting, waits }) {
      const name = pathParam(c, "name");
      await requireMember(registry, c, name);
      const known = c.req.header("if-none-match");
      const wait = waits && accepting() ? preferredWait(c.req.header("prefer")) : 0;
      // A poll without news compares two numbers: nothing is compiled or signed for it.
      const revision = () => registry.state.clusters.get(name)?.snapshotRevision;
      if (wait > 0 && known === etagOf(revision())) {
        const waiting = registry.waitForNews(name, wait * 1_000, c.req.raw.signal);
        if (waiting === undefined)
          throw problemError("limit_exceeded", "too many members wait for news already");
        await waiting;
        c.header("preference-applied", `wait=${wait}`);
      }
      return known === etagOf(revision()) ? notModified(c, known) : await current(c, registry.snapshot(name));
    },
  },
];

function etagOf(revision: number | undefined): string {
  return `"${revision ?? ""}"`;
}

/** RFC 7240 §4.3; anything else in the field is none of our business. */
export function preferredWait(prefer: string | undefined): number {
  const seconds = /(?:^|[,;])\s*wait\s*=\s*"?([0-9]{1,6})"?\s*(?:$|[,;])/i.exec(prefer ?? "")?.[1];
  return Math.min(Number(seconds ?? "0"), MAX_WAIT_SECONDS);
}

function notModified(c: Context, etag: string): Response {
  return c.body(null, 304, { etag, "cache-control": "private, no-cache" });
}

async function current(
  c: Context,
  snapshot: { readonly revision: number; readonly jws: Promise<string> } | undefined,
): Promise<Response> {
  if (snapshot === undefined) throw problemError("not_found", "the cluster was removed from the federation");
  const headers = {
    "content-type": "application/jose",
    etag: etagOf(snapshot.revision),
    "cache-control": "private, no-cache",
  };
  return c.body(await snapshot.jws, 200, headers);
}
