import { type Problem, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import {
  type SpiffeId,
  SYSTEM_NAMESPACE,
  systemRole,
  type TrustDomain,
} from "../../federation/model/spiffe-id.ts";

/** `aud` of the tokens that agents and controllers show to the issuer, and to nobody else. */
export const ISSUER_AUDIENCE = "isthmus-issuer";

/** What the API server said of a token (authentication.k8s.io/v1 TokenReview `status`), once decoded. */
export interface ReviewedToken {
  readonly authenticated: boolean;
  /** Why not. */
  readonly error: string;
  /** `system:serviceaccount:isthmus-system:agent` */
  readonly username: string;
  readonly audiences: readonly string[];
  /** Of the pod that the token is bound to; absent for tokens that are bound to none. */
  readonly pod?: string;
  /** API servers since 1.30 say it; for older ones the issuer looks the pod up. */
  readonly node?: string;
}

export interface AskedIdentity {
  readonly spiffeId: SpiffeId;
  readonly trustDomain: TrustDomain;
  /** Whether a pod of this account is scheduled on that node, as the API server tells. */
  readonly runsOn: (account: WorkloadAccount, node: string) => boolean;
}

export interface WorkloadAccount {
  readonly namespace: string;
  readonly account: string;
}

const ACCOUNTS = { agent: accountName("agent"), controller: accountName("controller") } as const;
const WORKLOAD_PATH = /^\/ns\/([^/]+)\/sa\/([^/]+)$/;

/**
 * Who may have which identity: an agent its own, and that of any account with a pod on its node; a controller its own. The
 * node is the one that the API server bound to the agent's token, so an agent can speak for no other node's pods.
 */
export function judgeAsker(token: ReviewedToken, asked: AskedIdentity): Result<undefined, Problem> {
  const refuse = (detail: string) => err(problem("identity_denied", detail));
  if (!token.authenticated) return refuse(`the API server does not accept the token: ${token.error}`);
  if (!token.audiences.includes(ISSUER_AUDIENCE))
    return refuse(
      `the token is for ${token.audiences.join(", ") || "the API server"}, not for ${ISSUER_AUDIENCE}`,
    );
  const { spiffeId, trustDomain } = asked;
  if (spiffeId.trustDomain !== trustDomain) return refuse(`${spiffeId.uri} is not of ${trustDomain}`);
  const role = systemRole(spiffeId);
  if (role === "gateway") return refuse("gateways hold the CA; nobody else speaks for them");
  if (token.username === ACCOUNTS.controller)
    return role === "controller" ? ok(undefined) : refuse(`the controller may not have ${spiffeId.uri}`);
  if (token.username !== ACCOUNTS.agent)
    return refuse(`${token.username} is neither this cluster's agent nor its controller`);
  if (token.pod === undefined || token.node === undefined)
    return refuse("the token is not bound to a pod on a node");
  if (role === "agent") return ok(undefined);
  const account = workloadAccount(spiffeId);
  if (account === undefined || account.namespace === SYSTEM_NAMESPACE)
    return refuse(`${spiffeId.uri} is no workload's identity`);
  if (asked.runsOn(account, token.node)) return ok(undefined);
  return refuse(`no pod of ${account.namespace}/${account.account} is scheduled on node ${token.node}`);
}

export function workloadAccount({ path }: SpiffeId): WorkloadAccount | undefined {
  const [, namespace, account] = WORKLOAD_PATH.exec(path) ?? [];
  return namespace === undefined || account === undefined ? undefined : { namespace, account };
}

function accountName(name: string): string {
  return `system:serviceaccount:${SYSTEM_NAMESPACE}:${name}`;
}
