/** What a directory of the gateway's secrets holds, as Kubernetes mounts one: `tls.crt`, `tls.key`, `ca.crt`. */
export interface Secret {
  /** Changes whenever the content does. */
  readonly version: number;
  readonly certificatePem?: string;
  readonly privateKeyPem?: string;
  readonly authoritiesPem?: string;
}

/** Where client certificates, keys and CAs come from: files, or Kubernetes' own secrets. Never the registry. */
export interface SecretSource {
  /** The last good state; `undefined`: there is no such secret. */
  get(name: string): Secret | undefined;
  /** Calls `listener` with the name of a secret whose content changed; returns the way to stop. */
  subscribe(listener: (name: string) => void): () => void;
}

export const NO_SECRETS: SecretSource = { get: () => undefined, subscribe: () => () => {} };
