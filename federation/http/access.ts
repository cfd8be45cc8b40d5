import type { Context } from "hono";
import type { Problem } from "../model/problem.ts";
import { systemRole, type SystemRole } from "../model/spiffe-id.ts";
import { MAX_MEMBER_REQUEST_BYTES, type Role } from "../model/wire/api.ts";
import type { Result } from "../model/result.ts";
import type { Caller } from "../registry/authority.ts";
import type { Registry } from "../registry/registry.ts";
import { roleCovers } from "../trust/index.ts";
import { orThrow, problemError, ProblemError } from "./problem-error.ts";
import type { RequestBindings } from "./endpoint.ts";
import { RATES } from "./rate-limit.ts";
import { readBody } from "./read-body.ts";

const NOTHING = new Uint8Array();
const MAX_AUTHORIZATION = 16_384;

/** An operator who holds at least `role`; the answer names them for the audit record. */
export async function requireOperator(registry: Registry, c: Context, role: Role): Promise<string> {
  const caller = await authenticate(registry, c, NOTHING);
  if (caller.kind !== "operator")
    throw problemError("forbidden", `this needs an operator with the role ${role}`);
  if (!roleCovers(caller.role, role)) {
    throw problemError("forbidden", `this needs the role ${role}; ${caller.subject} is ${caller.role}`);
  }
  return caller.subject;
}

export interface MemberAccess {
  readonly actor: string;
  readonly role: SystemRole;
  readonly body: Uint8Array;
  /** Of the signature: the member's later requests have greater ones. */
  readonly sequence: number;
  /** Whoever changes something calls it first: the same signature is refused from then on, by every instance. */
  readonly spend: () => Promise<void>;
}

/** A gateway, agent or controller of just this cluster. The body is read first, because it is signed. */
export async function requireMember(
  registry: Registry,
  c: Context,
  cluster: string,
  roles: readonly SystemRole[] = ["gateway", "agent", "controller"],
): Promise<MemberAccess> {
  const body = c.req.method === "GET" ? NOTHING : await readBody(c, MAX_MEMBER_REQUEST_BYTES);
  const caller = await authenticate(registry, c, body);
  if (caller.kind !== "member") throw problemError("forbidden", "only the cluster's own members may do this");
  const role = systemRole(caller.id);
  if (caller.cluster !== cluster || role === undefined)
    throw problemError("forbidden", `${caller.id.uri} is no member of cluster ${cluster}`);
  if (!roles.includes(role)) throw problemError("forbidden", `only a ${roles.join(" or ")} may do this`);
  const spend = async (): Promise<void> => orThrow(await registry.spendSignature(caller.signature));
  return { actor: caller.id.uri, role, body, sequence: caller.signature.sequence, spend };
}

/** An operator with `role`, or any member of `cluster`. */
export async function requireOperatorOrMember(
  registry: Registry,
  c: Context,
  access: { readonly role: Role; readonly cluster: string },
): Promise<string> {
  return isMemberRequest(c)
    ? (await requireMember(registry, c, access.cluster)).actor
    : requireOperator(registry, c, access.role);
}

function isMemberRequest(c: Context): boolean {
  return /^isthmus-member /i.test(c.req.header("authorization") ?? "");
}

/** Whoever it is may ask so often and no more. */
async function authenticate(registry: Registry, c: Context, body: Uint8Array): Promise<Caller> {
  const caller = await identify(registry, c, body);
  const { limits } = c.env as RequestBindings;
  const principal = caller.kind === "member" ? `cluster ${caller.cluster}` : `operator ${caller.subject}`;
  if (!limits.take(principal, RATES[caller.kind], registry.clock.now()))
    throw problemError("limit_exceeded", `${principal} asks too often`);
  return caller;
}

async function identify(registry: Registry, c: Context, body: Uint8Array): Promise<Caller> {
  const header = c.req.header("authorization");
  if (header === undefined) throw problemError("unauthenticated", "there is no Authorization header");
  if (header.length > MAX_AUTHORIZATION)
    throw problemError("unauthenticated", "the Authorization header is too long");
  const { authority, clock, state } = registry;
  if (isMemberRequest(c)) {
    const { method, url } = c.req;
    return accept(authority.verifyMember({ header, method, url, body }, state, clock.now()));
  }
  const token = /^Bearer +([\x21-\x7e]+) *$/i.exec(header)?.[1];
  if (token === undefined)
    throw problemError("unauthenticated", "the Authorization header is not Bearer or Isthmus-Member");
  return accept(await authority.verifyOperator(token, state, clock.now()));
}

function accept(verified: Result<Caller, Problem>): Caller {
  if (verified.ok) return verified.value;
  throw new ProblemError({ problem: verified.error });
}
