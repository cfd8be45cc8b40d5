import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { type Problem, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import { parseTrustDomain } from "../../federation/model/spiffe-id.ts";
import { federationInfo } from "../../federation/model/wire/api.ts";
import { decode } from "../../federation/model/wire/decode.ts";
import { type ClusterCa, createCsr, peekJoinToken, writeSecretFile } from "../../federation/trust/index.ts";
import type { Clock } from "../process/clock.ts";
import {
  type ClusterState,
  createStateDir,
  hasJoined,
  type Membership,
  withdrawClusterState,
  writeClusterState,
  writeMembership,
} from "./cluster-state.ts";
import type { Fetch } from "./http-fetch.ts";
import { forgetJoinKey, pendingJoinKey } from "./join-key.ts";
import { createMemberClient, type MemberClient, type MemberRequest } from "./member-client.ts";
import {
  acceptCertified,
  type AcceptedMembership,
  acceptMembership,
  type MembershipAnswer,
  membershipAnswer,
} from "./membership-answer.ts";

export interface JoinOptions {
  readonly registryUrl: string;
  readonly token: string;
  readonly stateDir: string;
  readonly clock: Clock;
  /** Replaces the membership that the directory holds; without it a joined directory is left alone. */
  readonly force?: boolean;
  readonly fetch?: Fetch;
}

const joinAnswer = membershipAnswer.extend({
  federation: z.string(),
  cluster: z.string(),
  trustDomain: z.string(),
});

// Signed requests are refused beyond this, so a cluster that joined with such a clock could do nothing.
const MAX_SKEW_MS = 30_000;

/**
 * Redeems a join token. The key is made here and stays here: it is kept before the token is spent, so that a join whose
 * answer was lost can be repeated with the same request: to the same key the registry says the same again.
 */
export async function joinCluster(options: JoinOptions): Promise<Result<ClusterState, Problem>> {
  const { stateDir, clock } = options;
  const begun = await beginJoin(options);
  if (!begun.ok) return begun;
  const { wanted, client } = begun.value;
  const key = pendingJoinKey(stateDir);
  if (!key.ok) return key;
  const csr = createCsr({ privateKey: key.value, trustDomain: wanted.trustDomain });
  const answer = await redeem(client, options.token, wanted, csr);
  if (!answer.ok) return answer;
  const accepted = acceptMembership(answer.value, key.value, wanted.trustDomain, clock.now());
  if (!accepted.ok) return accepted;
  const state = { ...wanted, ...accepted.value };
  const published = publish(stateDir, () => writeClusterState(stateDir, state));
  if (!published.ok) return published;
  forgetJoinKey(stateDir);
  return ok(state);
}

/** The same for a cluster whose CA's key is with somebody else, who made the request `csrPem`. */
export async function joinWithCsr(
  options: JoinOptions & { readonly csrPem: string },
): Promise<Result<Membership, Problem>> {
  const { stateDir, clock, csrPem, token } = options;
  const begun = await beginJoin(options);
  if (!begun.ok) return begun;
  const { wanted, client } = begun.value;
  const answer = await redeem(client, token, wanted, csrPem);
  if (!answer.ok) return answer;
  const accepted = acceptCertified(answer.value, csrPem, wanted.trustDomain, clock.now());
  if (!accepted.ok) return accepted;
  const membership = { ...wanted, ...accepted.value };
  const published = publish(stateDir, () => writeMembership(stateDir, membership));
  return published.ok ? ok(membership) : published;
}

type Wanted = Pick<ClusterState, "federation" | "cluster" | "trustDomain" | "registry" | "joinedAt">;

/** Everything before the token is spent. */
async function beginJoin(
  options: JoinOptions,
): Promise<Result<{ readonly wanted: Wanted; readonly client: MemberClient }, Problem>> {
  const { clock } = options;
  const claims = readToken(options.token);
  if (!claims.ok) return claims;
  const prepared = prepareDirectory(options);
  if (!prepared.ok) return prepared;
  const registry = options.registryUrl.replace(/\/+$/, "");
  const client = createMemberClient({ ...options, registry });
  const greeted = await greet(client, claims.value.federation, clock);
  if (!greeted.ok) return greeted;
  const joinedAt = new Date(clock.now()).toISOString();
  return ok({ wanted: { ...claims.value, registry, joinedAt }, client });
}

type Claims = Pick<ClusterState, "federation" | "cluster" | "trustDomain">;

/** What the token says of itself: the registry judges it, but nothing else may come back. */
function readToken(token: string): Result<Claims, Problem> {
  const claims = peekJoinToken(token);
  if (!claims.ok) return claims;
  const { federation, cluster } = claims.value;
  const trustDomain = parseTrustDomain(`${cluster}.${federation}`);
  if (!trustDomain.ok) return err(problem("join_token_invalid", trustDomain.error));
  return ok({ federation, cluster, trustDomain: trustDomain.value });
}

async function redeem(
  client: MemberClient,
  token: string,
  wanted: Claims,
  csr: string,
): Promise<Result<MembershipAnswer, Problem>> {
  const answer = await call(client, { method: "POST", path: "/v1/join", body: { token, csr } }, joinAnswer);
  if (!answer.ok) return answer;
  const foreign = differences(answer.value, wanted);
  return foreign === undefined ? answer : err(problem("registry_unreachable", foreign));
}

interface RenewOptions<S extends Membership> {
  readonly stateDir: string;
  readonly state: S;
  readonly client: MemberClient;
  readonly clock: Clock;
}

/** A new certificate for the same key; the old state stays in force until the new one has been judged. */
export async function renewClusterCa(
  options: RenewOptions<ClusterState>,
): Promise<Result<ClusterState, Problem>> {
  const { state, clock } = options;
  const { privateKey } = state.ca;
  const answer = await certify(options, createCsr({ privateKey, trustDomain: state.trustDomain }));
  if (!answer.ok) return answer;
  return keep(options, acceptMembership(answer.value, privateKey, state.trustDomain, clock.now()));
}

/** A new certificate for the key that `csrPem` was made with, whoever holds it. */
export async function renewWithCsr(
  options: RenewOptions<Membership> & { readonly csrPem: string },
): Promise<Result<Membership, Problem>> {
  const { state, clock, csrPem } = options;
  const answer = await certify(options, csrPem);
  if (!answer.ok) return answer;
  return keep(options, acceptCertified(answer.value, csrPem, state.trustDomain, clock.now()));
}

function certify(
  { state, client }: RenewOptions<Membership>,
  csr: string,
): Promise<Result<MembershipAnswer, Problem>> {
  const path = `/v1/clusters/${state.cluster}/renew`;
  return call(client, { method: "POST", path, body: { csr } }, membershipAnswer);
}

function keep<S extends Membership>(
  { stateDir, state }: RenewOptions<S>,
  accepted: Result<AcceptedMembership<S["ca"]>, Problem>,
): Result<S, Problem> {
  if (!accepted.ok) return accepted;
  // Which keys sign snapshots, the root says (snapshot-keys.ts), and not an answer that anybody on the way can write.
  const { ca, bundles } = accepted.value;
  const renewed = { ...state, ca, bundles };
  const written = writeMembership(stateDir, renewed);
  return written.ok ? ok(renewed) : written;
}

/**
 * Two thirds of the life leave the last third to repair whatever stops the renewal. `jitter` (0 to 1) spreads clusters
 * that joined together over a twentieth of the life.
 */
export function shouldRenewCa(
  { notBeforeMs, notAfterMs }: Pick<ClusterCa, "notBeforeMs" | "notAfterMs">,
  now: number,
  jitter: number,
): boolean {
  const life = notAfterMs - notBeforeMs;
  return now >= notBeforeMs + life * (2 / 3 + jitter / 20);
}

function prepareDirectory({ stateDir, force }: JoinOptions): Result<undefined, Problem> {
  if (hasJoined(stateDir) && force !== true) {
    return err(problem("state_unusable", `${stateDir} holds a joined cluster already; --force replaces it`));
  }
  const made = createStateDir(stateDir);
  if (!made.ok) return made;
  // The token can be spent once: find out before, not after, that the answer cannot be kept.
  const trial = join(stateDir, `.trial-${randomUUID()}`);
  const written = writeSecretFile(trial, "");
  if (written.ok) rmSync(trial, { force: true });
  return written;
}

/** Asks what costs nothing before the token is spent: is this the registry, and do the clocks agree? */
async function greet(
  client: MemberClient,
  federation: string,
  clock: Clock,
): Promise<Result<undefined, Problem>> {
  const info = await call(client, { method: "GET", path: "/v1/federation" }, federationInfo);
  if (!info.ok) return info;
  if (info.value.name !== federation) {
    const detail = `the token is for ${federation}, but the registry is that of ${info.value.name}`;
    return err(problem("join_token_invalid", detail));
  }
  const skewMs = clock.now() - Date.parse(info.value.time);
  if (Math.abs(skewMs) <= MAX_SKEW_MS) return ok(undefined);
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  const side = skewMs > 0 ? "ahead of" : "behind";
  return err(
    problem("clock_skew", `this machine's clock is ${seconds} s ${side} the registry's; nothing was changed`),
  );
}

/** Writes the new membership; a directory that was joined before counts as not joined until all of it is there. */
function publish(stateDir: string, write: () => Result<undefined, Problem>): Result<undefined, Problem> {
  const withdrawn = withdrawClusterState(stateDir);
  return withdrawn.ok ? write() : withdrawn;
}

function differences(answer: z.output<typeof joinAnswer>, asked: Claims): string | undefined {
  for (const field of ["federation", "cluster", "trustDomain"] as const) {
    if (answer[field] !== asked[field]) {
      return `the registry answered ${field} "${answer[field]}" where the token has "${asked[field]}"`;
    }
  }
  return undefined;
}

async function call<T>(
  client: MemberClient,
  request: MemberRequest,
  schema: z.ZodType<T>,
): Promise<Result<T, Problem>> {
  const response = await client.request(request);
  if (!response.ok) return response;
  let value: unknown;
  try {
    value = JSON.parse(response.value.text);
  } catch {
    return err(problem("registry_unreachable", `${request.path} answered something that is not JSON`));
  }
  const decoded = decode(schema, value);
  if (decoded.ok) return decoded;
  const [first] = decoded.error;
  const where = `${first?.path ?? ""}: ${first?.message ?? ""}`;
  return err(
    problem(
      "registry_unreachable",
      `${request.path} answered what this version does not understand: ${where}`,
    ),
  );
}
