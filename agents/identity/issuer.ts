import type { Logger } from "../../federation/model/log.ts";
import { type Problem, PROBLEMS, problem } from "../../federation/model/problem.ts";
import { err, type Result } from "../../federation/model/result.ts";
import { parseSpiffeId, type TrustDomain } from "../../federation/model/spiffe-id.ts";
import { parseCsr } from "../../federation/trust/index.ts";
import { problemOf } from "../kubernetes/api/failure.ts";
import { judgeAsker, type WorkloadAccount } from "./judge-asker.ts";
import type { SvidSigner } from "./svid-signer.ts";
import type { TokenReviewer } from "./token-review.ts";

export interface IssuerOptions {
  readonly trustDomain: TrustDomain;
  readonly reviewer: TokenReviewer;
  readonly signer: SvidSigner;
  readonly lifetimeMs: number;
  /** As the API server tells; `undefined` while its pods were never listed completely. */
  readonly runsOn: ((account: WorkloadAccount, node: string) => boolean) | undefined;
  readonly log: Logger;
}

export interface Issuer {
  /** `token` is the asker's own projected token. Answers the chain as PEM. */
  issue(request: { readonly token: string; readonly csrPem: string }): Promise<Result<string, Problem>>;
}

/** The one place of a cluster where identities are given: to whom, the API server is asked first. */
export function createIssuer(
  options: Omit<IssuerOptions, "runsOn"> & { readonly runsOn: () => IssuerOptions["runsOn"] },
): Issuer {
  const { trustDomain, reviewer, signer, lifetimeMs, log } = options;
  let complaint = "";
  return {
    async issue({ token, csrPem }) {
      const csr = parseCsr(csrPem);
      if (!csr.ok) return csr;
      const id = parseSpiffeId(csr.value.spiffeUri);
      if (!id.ok) return err(problem("csr_invalid", id.error));
      const reviewed = await reviewer.review(token);
      if (!reviewed.ok) {
        const failed = problemOf("create tokenreviews", reviewed.error);
        // Said here as well, once: who asks may be one of a thousand agents, what is to be mended is this role.
        if (failed.detail !== complaint)
          log.warn("token_review_failed", { code: PROBLEMS[failed.name].code, detail: failed.detail });
        complaint = failed.detail;
        return err(failed);
      }
      complaint = "";
      const runsOn = options.runsOn();
      if (runsOn === undefined)
        return err(problem("identity_pending", "the issuer still waits for the API server's list of pods"));
      const spiffeId = id.value;
      const verdict = judgeAsker(reviewed.value, { spiffeId, trustDomain, runsOn });
      const { username, pod, node } = reviewed.value;
      const asker = { asker: username, pod, node, spiffeId: spiffeId.uri };
      if (!verdict.ok) {
        const { code } = PROBLEMS[verdict.error.name];
        log.warn("identity_refused", { ...asker, code, detail: verdict.error.detail });
        return verdict;
      }
      const { publicKey } = csr.value;
      const signed = await signer.sign({ csrPem, publicKey, spiffeId, lifetimeMs });
      if (signed.ok) log.info("identity_issued", asker);
      return signed;
    },
  };
}
