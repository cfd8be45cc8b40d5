import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { Logger } from "../model/log.ts";
import { PROBLEMS, type ProblemName } from "../model/problem.ts";
import type { ProblemDocument } from "../model/wire/api.ts";
import type { Refusal } from "../registry/change.ts";
import { ProblemError } from "./problem-error.ts";

/** What the registry refuses with. Any other problem reaching this table is a fault of ours. */
const STATUS: { readonly [N in ProblemName]?: ContentfulStatusCode } = {
  join_token_invalid: 401,
  join_token_expired: 401,
  join_token_spent: 409,
  join_token_cluster: 403,
  member_request_invalid: 401,
  member_request_expired: 401,
  csr_invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  version_conflict: 409,
  cluster_exists: 409,
  request_invalid: 400,
  request_too_large: 413,
  store_unavailable: 503,
  request_token_reused: 409,
  cluster_in_use: 409,
  rollout_state: 409,
  unsupported_media: 415,
  limit_exceeded: 429,
  internal: 500,
};

const RETRY_AFTER_SECONDS: { readonly [N in ProblemName]?: string } = {
  store_unavailable: "5",
  limit_exceeded: "1",
};

const MAX_PATH_LOGGED = 200;

/** The only place that turns a failure into a reply. Whatever is not a refusal is a fault: logged whole, told not at all. */
export function createProblemRenderer(log: Logger): (error: Error, c: Context) => Response {
  return (error, c) => {
    const at = { method: c.req.method, path: c.req.path.slice(0, MAX_PATH_LOGGED) };
    if (!(error instanceof ProblemError)) {
      log.error("fault", { ...at, error: error.stack ?? String(error) });
      const detail = "an unexpected fault; the registry's log has it";
      return reply(c, { problem: { name: "internal", detail } });
    }
    const { name, detail } = error.refusal.problem;
    const status = STATUS[name] ?? 500;
    log[status >= 500 ? "error" : "info"]("request refused", {
      ...at,
      status,
      code: PROBLEMS[name].code,
      detail,
    });
    return reply(c, error.refusal);
  };
}

function reply(c: Context, { problem, issues, resourceVersion }: Refusal): Response {
  const { code, title, fix } = PROBLEMS[problem.name];
  const status = STATUS[problem.name] ?? 500;
  const document: ProblemDocument = {
    type: `urn:isthmus:problem:${code}`,
    title,
    status,
    detail: problem.detail,
    code,
    fix,
    ...(issues === undefined ? {} : { issues }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
  };
  const retryAfter = RETRY_AFTER_SECONDS[problem.name];
  if (retryAfter !== undefined) c.header("retry-after", retryAfter);
  if (status === 401) c.header("www-authenticate", "Bearer, Isthmus-Member");
  c.header("isthmus-code", code);
  c.header("cache-control", "no-store");
  return c.body(JSON.stringify(document), status, { "content-type": "application/problem+json" });
}
