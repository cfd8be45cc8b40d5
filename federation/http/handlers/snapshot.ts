import type { Context } from "hono";
import * as z from "zod";
import { DELTA_MANIPULATION, DELTA_MEDIA_TYPE } from "../../model/wire/snapshot-delta.ts";
import type { Registry } from "../../registry/registry.ts";
import type { SignedSnapshot } from "../../registry/snapshot-feed.ts";
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
      "The cluster's signed snapshot. `If-None-Match` with its ETag answers 304; `Prefer: wait=N` waits up to N seconds for news first; `A-IM: isthmus-delta` (RFC 3229) may answer 226 with what changed since that ETag",
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
      if (known === etagOf(revision())) return notModified(c, known);
      const signed = registry.snapshot(name);
      if (signed === undefined)
        throw problemError("not_found", "the cluster was removed from the federation");
      const delta = await deltaFor(c, registry, name, signed);
      return delta ?? (await whole(c, signed));
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

// A cache may keep it and must ask us before each use: it saves the bytes, and who may have them stays ours to say.
const CACHING = { "cache-control": "public, no-cache", vary: "accept-encoding, a-im" };

function notModified(c: Context, etag: string): Response {
  return c.body(null, 304, { etag, ...CACHING });
}

async function whole(c: Context, { revision, jws }: SignedSnapshot): Promise<Response> {
  const headers = { "content-type": "application/jose", etag: etagOf(revision), ...CACHING };
  return compressed(c, await jws, 200, headers);
}

async function deltaFor(
  c: Context,
  registry: Registry,
  cluster: string,
  signed: SignedSnapshot,
): Promise<Response | undefined> {
  const known = /^"([0-9]{1,15})"$/.exec(c.req.header("if-none-match") ?? "")?.[1];
  const wanted = (c.req.header("a-im") ?? "").split(",").some((name) => name.trim() === DELTA_MANIPULATION);
  if (!wanted || known === undefined) return undefined;
  const delta = await registry.snapshotDelta(cluster, Number(known), signed);
  if (delta === undefined) return undefined;
  return compressed(c, delta, 226, {
    "content-type": DELTA_MEDIA_TYPE,
    im: DELTA_MANIPULATION,
    "delta-base": `"${known}"`,
    etag: etagOf(signed.revision),
    "cache-control": "no-store",
  });
}

/** Workers pack what they send by themselves; what was packed already they would pack again. */
const PACKS_ITSELF = globalThis.navigator.userAgent === "Cloudflare-Workers";

/** Below it, the compressed form is hardly smaller and costs both sides. */
const MIN_COMPRESSED = 1_024;

function compressed(c: Context, text: string, status: 200 | 226, headers: Record<string, string>): Response {
  if (PACKS_ITSELF || text.length < MIN_COMPRESSED || !/\bgzip\b/.test(c.req.header("accept-encoding") ?? ""))
    return c.body(text, status as 200, headers);
  const bytes = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
  return c.body(bytes, status as 200, { ...headers, "content-encoding": "gzip" });
}
