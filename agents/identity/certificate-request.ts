import { type Problem, PROBLEMS, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import {
  type ClusterCaCertificate,
  decodePem,
  type IssuedChain,
  verifyIssuedChain,
} from "../../federation/trust/index.ts";
import type { CaIssuerRef } from "../../gateway/process/config.ts";
import { apiVersionOf, CERTIFICATE_REQUESTS } from "../kubernetes/api/resource-type.ts";
import { fieldsOf, list, text } from "../kubernetes/digest/fields.ts";
import { LABEL, SYSTEM_NAMESPACE } from "../kubernetes/labels.ts";

/** cert-manager.io/v1 CertificateRequest: its fields cannot be changed once it is there, so each is asked and judged once. */
export function certificateRequest(asked: {
  readonly name: string;
  readonly issuer: CaIssuerRef;
  readonly csrPem: string;
  readonly lifetimeMs: number;
}): object {
  const { name, issuer, csrPem, lifetimeMs } = asked;
  return {
    apiVersion: apiVersionOf(CERTIFICATE_REQUESTS),
    kind: CERTIFICATE_REQUESTS.kind,
    metadata: { namespace: SYSTEM_NAMESPACE, name, labels: { [LABEL.managedBy]: LABEL.manager } },
    spec: {
      request: Buffer.from(csrPem).toString("base64"),
      issuerRef: issuer,
      duration: `${Math.ceil(lifetimeMs / 1000)}s`,
      // Both purposes, or neither, is what the X509-SVID profile has (§4.4): a workload is server and client.
      usages: ["digital signature", "server auth", "client auth"],
      isCA: false,
    },
  };
}

/** What has become of a request. */
export type RequestState =
  | { readonly kind: "pending"; readonly detail: string }
  | { readonly kind: "refused"; readonly detail: string }
  | { readonly kind: "issued"; readonly certificate: string; readonly ca: string };

interface Condition {
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

const MAX_MESSAGE = 300;
/** A chain of ours has 1.5 KB. */
const MAX_CHAIN_CHARACTERS = 64 * 1024;

/** A condition that is not there is not `True`: nothing is concluded from absence. */
export function requestState(object: unknown): RequestState {
  const status = fieldsOf(fieldsOf(object)["status"]);
  const conditions = conditionsOf(status["conditions"]);
  for (const type of ["Denied", "InvalidRequest"]) {
    const found = conditions.get(type);
    if (found?.status === "True") return { kind: "refused", detail: `${type}: ${wordsOf(found)}` };
  }
  const ready = conditions.get("Ready");
  if (ready?.status === "True")
    return { kind: "issued", certificate: decoded(status["certificate"]), ca: decoded(status["ca"]) };
  if (ready?.reason === "Failed" || ready?.reason === "Denied")
    return { kind: "refused", detail: wordsOf(ready) };
  if (ready !== undefined) return { kind: "pending", detail: wordsOf(ready) };
  const approved = conditions.get("Approved")?.status === "True";
  return { kind: "pending", detail: approved ? "no issuer has taken it up" : "nobody has approved it" };
}

function conditionsOf(value: unknown): ReadonlyMap<string, Condition> {
  return new Map(
    list(value).map((item) => {
      const { type, status, reason, message } = fieldsOf(item);
      const shortened = (text(message) ?? "").slice(0, MAX_MESSAGE);
      return [
        text(type) ?? "",
        { status: text(status) ?? "", reason: text(reason) ?? "", message: shortened },
      ] as const;
    }),
  );
}

function wordsOf({ reason, message }: Condition): string {
  return [reason, message].filter((part) => part !== "").join(": ") || "no reason given";
}

function decoded(value: unknown): string {
  const encoded = text(value) ?? "";
  return encoded.length > MAX_CHAIN_CHARACTERS ? "" : Buffer.from(encoded, "base64").toString("utf8");
}

// As long as SVIDs may be asked to live: one of an issuer that does as it likes would outlive what it can do harm with.
const MAX_LIFE_MS = 24 * 3_600_000;
const CLOCK_SKEW_MS = 5 * 60_000;
const MAX_ISSUERS = 8;

export interface JudgedChain {
  /** The leaf, and the certificate of the CA that signed it. */
  readonly chainDer: readonly Buffer[];
}

/**
 * Whether a peer would accept what was issued, as it is to be presented: with the longest lived certificate of the CA that
 * signed it. That may be newer than the issuer's own, since a CA is certified anew without a new key; or an earlier one,
 * until the issuer got the new key.
 */
export function judgeIssued(
  { certificate, ca }: { readonly certificate: string; readonly ca: string },
  asked: IssuedChain,
  clusterCa: ClusterCaCertificate,
): Result<JudgedChain, Problem> {
  const unusable = (detail: string) => err(problem("ca_certificate_unusable", detail));
  const [leaf, ...above] = decodePem("CERTIFICATE", certificate) ?? [];
  if (leaf === undefined) return unusable("status.certificate holds no certificate in PEM");
  const others = [...above, ...(decodePem("CERTIFICATE", ca) ?? [])].slice(0, MAX_ISSUERS);
  let best: { readonly chainDer: readonly Buffer[]; readonly notAfterMs: number } | undefined;
  let reason: Problem | undefined;
  for (const issuer of [clusterCa.certificateDer, ...others]) {
    const chainDer = [leaf, issuer];
    const verified = verifyIssuedChain(chainDer, asked);
    if (verified.ok) {
      const { notAfterMs } = verified.value;
      if (notAfterMs > (best?.notAfterMs ?? 0)) best = { chainDer, notAfterMs };
    } else if (reason === undefined || reason.name === "peer_certificate_untrusted") reason = verified.error;
  }
  if (best === undefined)
    return unusable(reason === undefined ? "no issuer" : `${reason.detail} (${PROBLEMS[reason.name].code})`);
  const lifeMs = best.notAfterMs - asked.now;
  if (lifeMs > MAX_LIFE_MS + CLOCK_SKEW_MS)
    return unusable(`it lives ${Math.round(lifeMs / 3_600_000)} hours, 24 at most are taken`);
  return ok(best);
}
