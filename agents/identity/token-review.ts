import { createHash } from "node:crypto";
import { err, ok, type Result } from "../../federation/model/result.ts";
import type { Clock } from "../../gateway/process/clock.ts";
import type { KubeClient } from "../kubernetes/api/client.ts";
import { type ApiFailure, failureOf } from "../kubernetes/api/failure.ts";
import { apiVersionOf, PODS, pathOf, TOKEN_REVIEWS } from "../kubernetes/api/resource-type.ts";
import { fieldsOf, text, texts } from "../kubernetes/digest/fields.ts";
import { SYSTEM_NAMESPACE } from "../kubernetes/labels.ts";
import { ISSUER_AUDIENCE, type ReviewedToken } from "./judge-asker.ts";

export interface TokenReviewer {
  review(token: string): Promise<Result<ReviewedToken, ApiFailure>>;
}

// A node asks for all of its accounts within seconds with one token; a pod that was deleted loses its rights this soon.
const REMEMBER_MS = 10_000;
const MAX_REMEMBERED = 1_024;

/** Asks the API server whose token it is; good answers are remembered for seconds, by the token's hash. */
export function createTokenReviewer(client: KubeClient, clock: Clock): TokenReviewer {
  const known = new Map<string, { readonly reviewed: ReviewedToken; readonly untilMs: number }>();
  return {
    async review(token) {
      const key = createHash("sha256").update(token).digest("base64");
      const remembered = known.get(key);
      if (remembered !== undefined && remembered.untilMs > clock.now()) return ok(remembered.reviewed);
      const answer = await client.request({
        method: "POST",
        path: pathOf(TOKEN_REVIEWS),
        body: {
          apiVersion: apiVersionOf(TOKEN_REVIEWS),
          kind: TOKEN_REVIEWS.kind,
          spec: { token, audiences: [ISSUER_AUDIENCE] },
        },
      });
      if (!answer.ok) return answer;
      const reviewed = await withNode(client, reviewedOf(answer.value));
      if (!reviewed.ok) return reviewed;
      if (reviewed.value.authenticated) {
        if (known.size >= MAX_REMEMBERED) known.clear();
        known.set(key, { reviewed: reviewed.value, untilMs: clock.now() + REMEMBER_MS });
      }
      return reviewed;
    },
  };
}

const EXTRA = {
  pod: "authentication.kubernetes.io/pod-name",
  node: "authentication.kubernetes.io/node-name",
};

/** What is not there is refused by who judges it. */
export function reviewedOf(review: unknown): ReviewedToken {
  const status = fieldsOf(fieldsOf(review)["status"]);
  const user = fieldsOf(status["user"]);
  const extra = fieldsOf(user["extra"]);
  const [pod] = texts(extra[EXTRA.pod]);
  const [node] = texts(extra[EXTRA.node]);
  return {
    authenticated: status["authenticated"] === true,
    error: text(status["error"]) ?? "no reason given",
    username: text(user["username"]) ?? "",
    audiences: texts(status["audiences"]),
    ...(pod === undefined ? {} : { pod }),
    ...(node === undefined ? {} : { node }),
  };
}

/** API servers before 1.30 name the pod only; that the token's pod still is the one of this name, they have checked. */
async function withNode(
  client: KubeClient,
  reviewed: ReviewedToken,
): Promise<Result<ReviewedToken, ApiFailure>> {
  const { authenticated, pod, node } = reviewed;
  if (!authenticated || pod === undefined || node !== undefined) return ok(reviewed);
  const path = pathOf(PODS, { namespace: SYSTEM_NAMESPACE, name: pod });
  const answer = await client.request({ method: "GET", path });
  if (!answer.ok) return answer.error.kind === "not_found" ? ok(reviewed) : answer;
  const found = text(fieldsOf(fieldsOf(answer.value)["spec"])["nodeName"]);
  return found === undefined
    ? err(failureOf(500, `pod ${pod} has no node`))
    : ok({ ...reviewed, node: found });
}
