import type { Logger } from "../../federation/model/log.ts";
import { type Problem, PROBLEMS, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import {
  type BundleIndex,
  type ClusterCaCertificate,
  parseCertificate,
  svidPem,
} from "../../federation/trust/index.ts";
import type { Clock, Random, Timer } from "../../gateway/process/clock.ts";
import type { CaIssuerRef } from "../../gateway/process/config.ts";
import type { KubeClient } from "../kubernetes/api/client.ts";
import { problemOf } from "../kubernetes/api/failure.ts";
import { asKubeObject } from "../kubernetes/api/object.ts";
import { CERTIFICATE_REQUESTS, pathOf } from "../kubernetes/api/resource-type.ts";
import { fieldsOf, list, text } from "../kubernetes/digest/fields.ts";
import { LABEL, SYSTEM_NAMESPACE } from "../kubernetes/labels.ts";
import { certificateRequest, judgeIssued, type RequestState, requestState } from "./certificate-request.ts";
import type { SvidRequest, SvidSigner } from "./svid-signer.ts";

export interface CertificateRequestSignerOptions {
  readonly client: KubeClient;
  readonly issuer: CaIssuerRef;
  /** Begins the names of its requests. */
  readonly member: string;
  /** By which what was issued is judged. */
  readonly bundles: BundleIndex;
  /** The cluster's CA as the root has certified it last. */
  readonly ca: () => ClusterCaCertificate;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface CertificateRequestSigner extends SvidSigner {
  stop(): void;
}

// Below what agents wait for a gateway's answer (issuer-client.ts). Who needs longer for each is no issuer for SVIDs of an hour.
const DEADLINE_MS = 12_000;
const POLL = { firstMs: 50, factor: 1.5, mostMs: 1_000 } as const;
/** Requests are deleted when they are answered; what a crash left behind goes later. */
const SWEEP_EVERY_MS = 3_600_000;
const LEFT_BEHIND_MS = 600_000;
const SWEEP_PAGE = 500;

/** The CA's key is with cert-manager, or whom it asks: it signs CertificateRequests, and we judge what it signed. */
export function createCertificateRequestSigner(
  options: CertificateRequestSignerOptions,
): CertificateRequestSigner {
  return new Signer(options);
}

class Signer implements CertificateRequestSigner {
  readonly #options: CertificateRequestSignerOptions;
  #sweeper: Timer | undefined;
  #stopped = false;
  /** Certificate of the CA of which was said that the issuer does not sign with it. */
  #outdated = "";
  #complaint = "";

  constructor(options: CertificateRequestSignerOptions) {
    this.#options = options;
    void this.#sweep();
  }

  async sign(request: SvidRequest): Promise<Result<string, Problem>> {
    const { client, issuer, member, random } = this.#options;
    const { csrPem, lifetimeMs } = request;
    const name = `${member}-${Math.floor(random() * 2 ** 48).toString(36)}`;
    const created = await client.request({
      method: "POST",
      path: pathOf(CERTIFICATE_REQUESTS, { namespace: SYSTEM_NAMESPACE }),
      body: certificateRequest({ name, issuer, csrPem, lifetimeMs }),
    });
    if (!created.ok) return err(problemOf("create certificaterequests", created.error));
    const state = await this.#outcome(name);
    void this.#delete(name);
    if (!state.ok) return state;
    const told = `${issuer.kind} ${issuer.name}`;
    if (state.value.kind === "refused")
      return err(problem("ca_issuer_refused", `${told}: ${state.value.detail}`));
    if (state.value.kind === "pending")
      return err(problem("ca_issuer_silent", `${told}, after ${DEADLINE_MS} ms: ${state.value.detail}`));
    return this.#judge(request, state.value);
  }

  stop(): void {
    this.#stopped = true;
    this.#sweeper?.cancel();
  }

  /** Asks again and again, less and less often, until there is an answer or it is too late for one. */
  async #outcome(name: string): Promise<Result<RequestState, Problem>> {
    const { client, clock } = this.#options;
    const path = pathOf(CERTIFICATE_REQUESTS, { namespace: SYSTEM_NAMESPACE, name });
    const untilMs = clock.now() + DEADLINE_MS;
    let waitMs: number = POLL.firstMs;
    for (;;) {
      await new Promise((resolve) => clock.after(waitMs, () => resolve(undefined)));
      const answer = await client.request({ method: "GET", path });
      const isOver = this.#stopped || clock.now() >= untilMs;
      if (answer.ok) {
        const state = requestState(answer.value);
        if (state.kind !== "pending" || isOver) return ok(state);
      } else if (answer.error.kind === "not_found")
        return err(problem("ca_issuer_silent", `somebody deleted the CertificateRequest ${name}`));
      else if (isOver || answer.error.kind === "forbidden")
        return err(problemOf(`get certificaterequests ${name}`, answer.error));
      waitMs = Math.min(POLL.mostMs, waitMs * POLL.factor);
    }
  }

  #judge(
    { spiffeId, publicKey }: SvidRequest,
    issued: Extract<RequestState, { readonly kind: "issued" }>,
  ): Result<string, Problem> {
    const { bundles, clock, ca } = this.#options;
    const asked = { spiffeId, publicKey, bundles, now: clock.now() };
    const judged = judgeIssued(issued, asked, ca());
    if (!judged.ok) return judged;
    this.#notice(judged.value.chainDer);
    return ok(svidPem(judged.value));
  }

  /** A CA that is certified anew with another key is of use once its issuer has the key. */
  #notice([, issuer]: readonly Buffer[]): void {
    const { ca, log } = this.#options;
    const { publicKeyInfo, certificatePem } = ca();
    const parsed = issuer === undefined ? undefined : parseCertificate(issuer);
    if (parsed?.ok !== true) return;
    const isOutdated = !parsed.value.publicKeyInfo.equals(publicKeyInfo);
    if (isOutdated && this.#outdated !== certificatePem) {
      const detail = "the issuer signs with an earlier CA: give it ca.crt of the ConfigMap isthmus-cluster";
      log.warn("ca_issuer_outdated", { detail, until: new Date(parsed.value.notAfterMs).toISOString() });
    }
    this.#outdated = isOutdated ? certificatePem : "";
  }

  async #delete(name: string): Promise<void> {
    const path = pathOf(CERTIFICATE_REQUESTS, { namespace: SYSTEM_NAMESPACE, name });
    const answer = await this.#options.client.request({ method: "DELETE", path });
    if (!answer.ok && answer.error.kind !== "not_found")
      this.#complain(problemOf("delete certificaterequests", answer.error));
  }

  async #sweep(): Promise<void> {
    const { client, clock } = this.#options;
    const answer = await client.request({
      method: "GET",
      path: pathOf(CERTIFICATE_REQUESTS, { namespace: SYSTEM_NAMESPACE }),
      query: { labelSelector: `${LABEL.managedBy}=${LABEL.manager}`, limit: String(SWEEP_PAGE) },
    });
    if (answer.ok) {
      for (const item of list(fieldsOf(answer.value)["items"])) {
        const { name, creationTimestamp } = asKubeObject(item)?.metadata ?? {};
        const bornMs = Date.parse(text(creationTimestamp) ?? "");
        if (name !== undefined && clock.now() - bornMs > LEFT_BEHIND_MS) await this.#delete(name);
      }
    } else this.#complain(problemOf("list certificaterequests", answer.error));
    if (!this.#stopped) this.#sweeper = clock.after(SWEEP_EVERY_MS, () => void this.#sweep());
  }

  /** Harms nobody now, and is to be mended all the same. */
  #complain({ name, detail }: Problem): void {
    if (detail !== this.#complaint)
      this.#options.log.warn("certificate_requests_stay", { code: PROBLEMS[name].code, detail });
    this.#complaint = detail;
  }
}
