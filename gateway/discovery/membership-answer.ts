import type { KeyObject } from "node:crypto";
import type { JSONWebKeySet } from "jose";
import * as z from "zod";
import { type Problem, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import { systemSpiffeId, type TrustDomain } from "../../federation/model/spiffe-id.ts";
import type { TrustBundle } from "../../federation/model/trust-bundle.ts";
import {
  acceptClusterCa,
  bundlesFromMap,
  type ClusterCa,
  type ClusterCaCertificate,
  indexBundles,
  issueSvid,
  loadClusterCa,
  privateKeyToPem,
  verifyChain,
} from "../../federation/trust/index.ts";
import { keySet } from "./key-set.ts";

export interface AcceptedMembership<C extends ClusterCaCertificate> {
  readonly ca: C;
  readonly bundles: readonly TrustBundle[];
  readonly snapshotKeys: JSONWebKeySet;
}

/** What joining and renewing have in common; the bundles are judged as a document of their own. */
export const membershipAnswer = z.object({
  caCertificate: z.string(),
  bundles: z.looseObject({}),
  snapshotKeys: keySet,
});
export type MembershipAnswer = z.output<typeof membershipAnswer>;

/** Takes the registry's answer only if a peer would accept what is minted with it: otherwise the old CA is worth more. */
export function acceptMembership(
  answer: MembershipAnswer,
  privateKey: KeyObject,
  trustDomain: TrustDomain,
  now: number,
): Result<AcceptedMembership<ClusterCa>, Problem> {
  const ca = loadClusterCa({
    certificatePem: answer.caCertificate,
    privateKeyPem: privateKeyToPem(privateKey),
  });
  if (!ca.ok) return refuse(ca.error);
  if (ca.value.trustDomain !== trustDomain) {
    return refuse({ detail: `the certificate is for ${ca.value.trustDomain}, ${trustDomain} was asked for` });
  }
  const bundles = bundlesOf(answer);
  if (!bundles.ok) return refuse(bundles.error);
  const sample = issueSvid({ ca: ca.value, spiffeId: systemSpiffeId(trustDomain, "gateway"), now });
  const verdict = verifyChain(sample.chainDer, indexBundles(bundles.value), now);
  if (!verdict.ok) return refuse(verdict.error);
  return ok({ ca: ca.value, bundles: bundles.value, snapshotKeys: answer.snapshotKeys });
}

/** The same where somebody else holds the key and made the request `csrPem`. */
export function acceptCertified(
  answer: MembershipAnswer,
  csrPem: string,
  trustDomain: TrustDomain,
  now: number,
): Result<AcceptedMembership<ClusterCaCertificate>, Problem> {
  const bundles = bundlesOf(answer);
  if (!bundles.ok) return refuse(bundles.error);
  const { caCertificate: certificatePem, snapshotKeys } = answer;
  const judged = { certificatePem, csrPem, trustDomain, bundles: indexBundles(bundles.value), now };
  const ca = acceptClusterCa(judged);
  return ca.ok ? ok({ ca: ca.value, bundles: bundles.value, snapshotKeys }) : refuse(ca.error);
}

/** Through text, because that is what is judged on disk as well. */
function bundlesOf({ bundles }: MembershipAnswer): Result<readonly TrustBundle[], Problem> {
  return bundlesFromMap(JSON.stringify(bundles));
}

function refuse({ name, detail }: Pick<Problem, "detail"> & Partial<Problem>): Result<never, Problem> {
  if (name === "peer_certificate_not_yet_valid") return err(problem("clock_skew", detail));
  return err(problem("registry_unreachable", `the registry's answer cannot be used: ${detail}`));
}
