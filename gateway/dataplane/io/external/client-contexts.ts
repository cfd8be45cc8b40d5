import { constants } from "node:crypto";
import tls, { type SecureContext, type SecureVersion } from "node:tls";
import type { EgressTls } from "../../../../federation/model/egress-policy.ts";
import { type Problem, problem } from "../../../../federation/model/problem.ts";
import { err, ok, type Result } from "../../../../federation/model/result.ts";
import type { SpiffeId } from "../../../../federation/model/spiffe-id.ts";
import { matchWorkload } from "../../../../federation/model/workload-pattern.ts";
import type { Secret, SecretSource } from "./secrets.ts";

/** One way of speaking TLS to the outside: whom to trust, as whom. Connections are shared only within one. */
export interface ClientContext {
  readonly context: SecureContext;
  /** Names content, not secrets: equal keys are equal contexts. */
  readonly key: string;
}

// AEAD with ECDHE only: what Node offers besides for TLS 1.2 (CBC, CCM8, ARIA) no server needs that we want to talk to.
export const CIPHERS = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");

const MAX_CONTEXTS = 1_024;
const MIN_VERSION: { readonly [V in NonNullable<EgressTls["minVersion"]>]: SecureVersion } = {
  "1.2": "TLSv1.2",
  "1.3": "TLSv1.3",
};

/** TLS contexts by what they are made of; a changed secret makes another one, and what was made before stays as it was. */
export class ClientContexts {
  readonly #secrets: SecretSource;
  readonly #made = new Map<string, ClientContext>();
  #systemRoots: readonly string[] | undefined;

  constructor(secrets: SecretSource) {
    this.#secrets = secrets;
  }

  for(settings: EgressTls, caller: SpiffeId): Result<ClientContext, Problem> {
    const client = this.#client(settings, caller);
    if (!client.ok) return client;
    const authorities = this.#authorities(settings);
    if (!authorities.ok) return authorities;
    const key = [settings.minVersion ?? "1.2", client.value?.key ?? "-", authorities.value.key].join(" ");
    const known = this.#made.get(key);
    if (known !== undefined) return ok(known);
    return this.#make(key, settings, authorities.value.pems, client.value?.secret);
  }

  #make(
    key: string,
    settings: EgressTls,
    authorities: readonly string[],
    client: Secret | undefined,
  ): Result<ClientContext, Problem> {
    try {
      const context = tls.createSecureContext({
        ca: [...authorities],
        minVersion: MIN_VERSION[settings.minVersion ?? "1.2"],
        ciphers: CIPHERS,
        // A resumed session would answer for another handshake's verification and another caller's certificate.
        secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
        ...(client === undefined ? {} : { cert: client.certificatePem, key: client.privateKeyPem }),
      });
      if (this.#made.size >= MAX_CONTEXTS) this.#made.clear();
      const made = { context, key };
      this.#made.set(key, made);
      return ok(made);
    } catch (error) {
      return err(problem("external_credential", error instanceof Error ? error.message : String(error)));
    }
  }

  #client(
    settings: EgressTls,
    caller: SpiffeId,
  ): Result<{ readonly key: string; readonly secret: Secret } | undefined, Problem> {
    if (settings.mode !== "mutual") return ok(undefined);
    const own = settings.clientCertificates?.find(({ workload }) => matchWorkload(workload, caller));
    const ref = own?.clientCertificateRef ?? settings.clientCertificateRef;
    if (ref === undefined)
      return err(problem("external_credential", `the policy names no client certificate for ${caller.uri}`));
    const secret = this.#secrets.get(ref.name);
    if (secret?.certificatePem === undefined || secret.privateKeyPem === undefined)
      return err(problem("external_credential", `secret ${ref.name} has no usable tls.crt and tls.key`));
    return ok({ key: `${ref.name}@${secret.version}`, secret });
  }

  #authorities(
    settings: EgressTls,
  ): Result<{ readonly key: string; readonly pems: readonly string[] }, Problem> {
    const { caCertificateRefs = [], wellKnownCACertificates } = settings.validation ?? {};
    const pems: string[] = [];
    const keys: string[] = [];
    for (const { name } of caCertificateRefs) {
      const secret = this.#secrets.get(name);
      if (secret?.authoritiesPem === undefined)
        return err(problem("external_credential", `secret ${name} has no usable ca.crt`));
      pems.push(secret.authoritiesPem);
      keys.push(`${name}@${secret.version}`);
    }
    if (caCertificateRefs.length === 0 || wellKnownCACertificates === "System") {
      pems.push(...this.#system());
      keys.push("System");
    }
    return ok({ key: keys.join(","), pems });
  }

  /** The machine's store; where it has none (a bare container), those that come with Node. */
  #system(): readonly string[] {
    if (this.#systemRoots === undefined) {
      const system = tls.getCACertificates("system");
      this.#systemRoots = system.length > 0 ? system : tls.getCACertificates("bundled");
    }
    return this.#systemRoots;
  }
}
