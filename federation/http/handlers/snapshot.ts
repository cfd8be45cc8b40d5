import type { Context } from "hono";
import * as z from "zod";
import {
  DELTA_MANIPULATION,
  DELTA_MEDIA_TYPE,
  DIGEST_MEDIA_TYPE,
  KEY_SET_HEADER,
} from "../../model/wire/snapshot-delta.ts";
import type { Registry } from "../../registry/registry.ts";
import type { SignedSnapshot } from "../../registry/snapshot-feed.ts";
import { formOf, joinJws } from "../../trust/index.ts";
import { requireMember } from "../access.ts";
import { type Endpoint, pathParam } from "../endpoint.ts";
import {
  acceptsGzip,
  entityTag,
  type KnownTag,
  knownTags,
  matchingTag,
  namesMediaType,
  type Readable,
} from "../entity-tag.ts";
import { problemError } from "../problem-error.ts";

/** Proxies commonly cut what is silent for longer. */
const MAX_WAIT_SECONDS = 60;

export const SNAPSHOT_ENDPOINTS: readonly Endpoint[] = [
  {
    method: "get",
    path: "/v1/clusters/{name}/snapshot",
    summary:
      "The cluster's signed snapshot. `If-None-Match` with its ETag answers 304; `Prefer: wait=N` waits up to N seconds for news first; `A-IM: isthmus-delta` (RFC 3229) may answer 226 with what changed since that ETag; who names `application/isthmus-digest+jose` in `Accept` may get a JWS whose signature is over the payload's SHA-256 in the payload's place",
    security: ["member"],
    answer: { status: 200, schema: z.string(), type: "application/jose" },
    async handle(c, { registry, accepting, waits }) {
      const name = pathParam(c, "name");
      await requireMember(registry, c, name);
      const known = knownTags(c.req.header("if-none-match"));
      const readable = {
        unpacks: acceptsGzip(c.req.header("accept-encoding")),
        readsDigest: namesMediaType(c.req.header("accept"), DIGEST_MEDIA_TYPE),
      };
      const wait = waits && accepting() ? preferredWait(c.req.header("prefer")) : 0;
      // A poll without news compares two numbers: nothing is compiled or signed for it.
      const current = () => matchingTag(known, registry.state.clusters.get(name)?.snapshotRevision, readable);
      if (wait > 0 && current() !== undefined) {
        const waiting = registry.waitForNews(name, wait * 1_000, c.req.raw.signal);
        if (waiting === undefined)
          throw problemError("limit_exceeded", "too many members wait for news already");
        await waiting;
        c.header("preference-applied", `wait=${wait}`);
      }
      // A hint, so that members need not ask for what has not changed; what they then take is signed by the root.
      const { signing } = registry.state;
      if (signing !== undefined) c.header(KEY_SET_HEADER, String(signing.sequence));
      const unchanged = current();
      if (unchanged !== undefined) return c.body(null, 304, { etag: unchanged, ...CACHING });
      const signed = registry.snapshot(name, readable.readsDigest ? "digest" : "whole");
      if (signed === undefined)
        throw problemError("not_found", "the cluster was removed from the federation");
      const delta = await deltaFor(c, registry, { name, signed, known, ...readable });
      return delta ?? (await whole(c, signed, readable));
    },
  },
];

/** RFC 7240 §4.3; anything else in the field is none of our business. */
export function preferredWait(prefer: string | undefined): number {
  const seconds = /(?:^|[,;])\s*wait\s*=\s*"?([0-9]{1,6})"?\s*(?:$|[,;])/i.exec(prefer ?? "")?.[1];
  return Math.min(Number(seconds ?? "0"), MAX_WAIT_SECONDS);
}

// A cache may keep it and must ask us before each use: it saves the bytes, and who may have them stays ours to say.
const CACHING = { "cache-control": "public, no-cache", vary: "accept, accept-encoding, a-im" };

async function whole(
  c: Context,
  { revision, jws }: SignedSnapshot,
  { unpacks }: Readable,
): Promise<Response> {
  const parts = await jws;
  const digest = formOf(parts) === "digest";
  const text = joinJws(parts);
  const packed = isWorthPacking(text, unpacks);
  const headers = {
    "content-type": digest ? DIGEST_MEDIA_TYPE : "application/jose",
    etag: entityTag({ revision, digest, packed }),
    ...CACHING,
  };
  return packed ? packedBody(c, text, 200, headers) : c.body(text, 200, headers);
}

async function deltaFor(
  c: Context,
  registry: Registry,
  { name, signed, known, unpacks }: Asked,
): Promise<Response | undefined> {
  const [base] = known;
  const wanted = (c.req.header("a-im") ?? "").split(",").some((each) => each.trim() === DELTA_MANIPULATION);
  if (!wanted || base === undefined) return undefined;
  const delta = await registry.snapshotDelta(name, base.revision, signed);
  if (delta === undefined) return undefined;
  const digest = formOf(await signed.jws) === "digest";
  const headers = {
    "content-type": DELTA_MEDIA_TYPE,
    im: DELTA_MANIPULATION,
    "delta-base": entityTag(base),
    // Of the instance that it leads to, RFC 3229 §5.3: that one is not packed.
    etag: entityTag({ revision: signed.revision, digest, packed: false }),
    "cache-control": "no-store",
    vary: CACHING.vary,
  };
  return isWorthPacking(delta, unpacks)
    ? packedBody(c, delta, 226, headers)
    : c.body(delta, 226 as 200, headers);
}

interface Asked extends Readable {
  readonly name: string;
  readonly signed: SignedSnapshot;
  readonly known: readonly KnownTag[];
}

/** Workers pack what they send by themselves; what was packed already they would pack again. */
const PACKS_ITSELF = globalThis.navigator.userAgent === "Cloudflare-Workers";

/** Below it, the packed form is hardly smaller and costs both sides. */
const MIN_PACKED = 1_024;

function isWorthPacking(text: string, unpacks: boolean): boolean {
  return unpacks && !PACKS_ITSELF && text.length >= MIN_PACKED;
}

function packedBody(c: Context, text: string, status: 200 | 226, headers: Record<string, string>): Response {
  const bytes = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
  return c.body(bytes, status as 200, { ...headers, "content-encoding": "gzip" });
}
