import { createPrivateKey, X509Certificate } from "node:crypto";
import type { LogFields, Logger } from "../../federation/model/log.ts";
import { PROBLEMS } from "../../federation/model/problem.ts";

/** As `Secret` of the data plane has it. */
export interface StoredSecret {
  readonly version: number;
  readonly certificatePem?: string;
  readonly privateKeyPem?: string;
  readonly authoritiesPem?: string;
}

/** As `SecretSource` of the data plane has it. */
export interface SecretReader {
  get(name: string): StoredSecret | undefined;
  subscribe(listener: (name: string) => void): () => void;
}

/** What the parts of a secret are called, by Kubernetes and by cert-manager. */
export const SECRET_KEYS = ["tls.crt", "tls.key", "ca.crt"] as const;
export type SecretTexts = { readonly [K in (typeof SECRET_KEYS)[number]]?: string };

/**
 * The last good state of every secret, wherever it comes from. A secret is taken whole or not at all: a key that does not fit
 * its certificate leaves the last good pair in use.
 */
export class SecretStore implements SecretReader {
  readonly #log: Logger;
  /** Where they come from, for the log. */
  readonly #origin: LogFields;
  readonly #good = new Map<string, StoredSecret>();
  readonly #listeners = new Set<(name: string) => void>();
  #version = 0;

  constructor(log: Logger, origin: LogFields) {
    this.#log = log;
    this.#origin = origin;
  }

  get(name: string): StoredSecret | undefined {
    return this.#good.get(name);
  }

  subscribe(listener: (name: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  take(name: string, texts: SecretTexts): void {
    const wrong = judge(texts);
    if (wrong !== undefined) return this.refuse(name, wrong);
    const { "tls.crt": certificatePem, "tls.key": privateKeyPem, "ca.crt": authoritiesPem } = texts;
    this.#version += 1;
    this.#good.set(name, {
      version: this.#version,
      ...(certificatePem === undefined ? {} : { certificatePem }),
      ...(privateKeyPem === undefined ? {} : { privateKeyPem }),
      ...(authoritiesPem === undefined ? {} : { authoritiesPem }),
    });
    this.#log.info("secret_read", { ...this.#origin, secret: name, notAfter: notAfterOf(certificatePem) });
    for (const listener of [...this.#listeners]) listener(name);
  }

  refuse(name: string, detail: string): void {
    const { code } = PROBLEMS.external_credential;
    const lastGoodStays = this.#good.has(name);
    this.#log.error("secret_refused", { code, ...this.#origin, secret: name, detail, lastGoodStays });
  }
}

/** Two sources as one: a secret of `first` stands before one of the same name. */
export function joinSecrets(first: SecretReader, second: SecretReader): SecretReader {
  const given = new Map<string, { readonly from: StoredSecret; readonly secret: StoredSecret }>();
  let version = 0;
  return {
    get(name) {
      const from = first.get(name) ?? second.get(name);
      if (from === undefined) return undefined;
      const known = given.get(name);
      if (known?.from === from) return known.secret;
      // Each counts for itself, and whoever asks goes by the number.
      version += 1;
      const secret = { ...from, version };
      given.set(name, { from, secret });
      return secret;
    },
    subscribe(listener) {
      const ends = [first.subscribe(listener), second.subscribe(listener)];
      return () => {
        for (const end of ends) end();
      };
    },
  };
}

function judge({
  "tls.crt": certificate,
  "tls.key": key,
  "ca.crt": authorities,
}: SecretTexts): string | undefined {
  if ((certificate === undefined) !== (key === undefined))
    return `${certificate === undefined ? "tls.crt" : "tls.key"} is missing beside the other one`;
  const pair = certificate === undefined || key === undefined ? undefined : judgePair(certificate, key);
  return pair ?? (authorities === undefined ? undefined : judgeAuthorities(authorities));
}

/** What is wrong with a pair; never with a word of the key itself. */
function judgePair(certificate: string, key: string): string | undefined {
  let leaf: X509Certificate;
  try {
    leaf = new X509Certificate(certificate);
  } catch {
    return "tls.crt is not a certificate in PEM";
  }
  try {
    return leaf.checkPrivateKey(createPrivateKey(key)) ? undefined : "tls.key does not belong to tls.crt";
  } catch {
    return "tls.key is not a private key in PEM without a passphrase";
  }
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

function judgeAuthorities(text: string): string | undefined {
  const certificates = text.match(PEM_CERTIFICATE) ?? [];
  if (certificates.length === 0) return "ca.crt holds no certificate in PEM";
  try {
    for (const certificate of certificates) new X509Certificate(certificate);
    return undefined;
  } catch {
    return "ca.crt holds something that is no certificate";
  }
}

function notAfterOf(certificate: string | undefined): string | undefined {
  return certificate === undefined ? undefined : new X509Certificate(certificate).validTo;
}
