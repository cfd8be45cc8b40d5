import type { KeyObject } from "node:crypto";
import type { JSONWebKeySet } from "jose";
import * as z from "zod";
import { type Problem, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import { systemSpiffeId, type TrustDomain } from "../../federation/model/spiffe-id.ts";
import type { TrustBundle } from "../../federation/model/trust-bundle.ts";
import {
  bundlesFromMap,
  type ClusterCa,
  indexBundles,
  issueSvid,
  loadClusterCa,
  privateKeyToPem,
  verifyChain,
} from "../../federation/trust/index.ts";
import { keySet } from "./key-set.ts";

export interface AcceptedMembership {
  readonly ca: ClusterCa;
  readonly bundles: readonly TrustBundle[];
  readonly snapshotKeys: JSONWebKeySet;
}

/** What joining and renewing have in common; the bundles are judged as a document of their own. */
export const membershipAnswer = z.object({
  caCertificate: z.string(),
  bundles: z.looseObject({}),
  snapshotKeys: keySet,
});
type MembershipAnswer = z.output<typeof membershipAnswer>;

/** Takes the registry's answer only if a peer would accept what is minted with it: otherwise the old CA is worth more. */
export function acceptMembership(
  answer: MembershipAnswer,
  privateKey: KeyObject,
  trustDomain: TrustDomain,
  now: number,
): Result<AcceptedMembership, Problem> {
  const ca = loadClusterCa({
    certificatePem: answer.caCertificate,
    privateKeyPem: privateKeyToPem(privateKey),
  });
  if (!ca.ok) return refuse(ca.error.detail);
  if (ca.value.trustDomain !== trustDomain) {
    return refuse(`the certificate is for ${ca.value.trustDomain}, ${trustDomain} was asked for`);
  }
  // Through text, because that is what is judged on disk as well.
  const bundles = bundlesFromMap(JSON.stringify(answer.bundles));
  if (!bundles.ok) return refuse(bundles.error.detail);
  const sample = issueSvid({ ca: ca.value, spiffeId: systemSpiffeId(trustDomain, "gateway"), now });
  const verdict = verifyChain(sample.chainDer, indexBundles(bundles.value), now);
  if (!verdict.ok) {
    const clock = verdict.error.name === "peer_certificate_not_yet_valid";
    return clock ? err(problem("clock_skew", verdict.error.detail)) : refuse(verdict.error.detail);
  }
  return ok({ ca: ca.value, bundles: bundles.value, snapshotKeys: answer.snapshotKeys });
}

function refuse(why: string): Result<never, Problem> {
  return err(problem("registry_unreachable", `the registry's answer cannot be used: ${why}`));
}
