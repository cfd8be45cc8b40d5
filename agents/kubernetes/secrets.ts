import type { Logger } from "../../federation/model/log.ts";
import {
  SECRET_KEYS,
  type SecretReader,
  SecretStore,
  type SecretTexts,
} from "../../gateway/discovery/index.ts";
import type { Clock, Random } from "../../gateway/process/clock.ts";
import type { KubeClient } from "./api/client.ts";
import { createInformer } from "./api/informer.ts";
import type { KubeObject } from "./api/object.ts";
import { SECRETS } from "./api/resource-type.ts";
import { textMap } from "./digest/fields.ts";

/** A namespace of their own: who may read these Secrets may read no others. */
export const EGRESS_NAMESPACE = "isthmus-egress";

export interface KubernetesSecrets extends SecretReader {
  stop(): void;
}

/**
 * Client certificates, keys and CAs of the outside from Secrets (`kubernetes.io/tls`, or `ca.crt` alone), by watch. One that is
 * deleted stays in use, as one that is spoiled does: only a policy withdraws a permission.
 */
export function followSecrets(options: {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}): KubernetesSecrets {
  const store = new SecretStore(options.log, { namespace: EGRESS_NAMESPACE });
  const seen = new Map<string, string>();
  const informer = createInformer<SecretTexts>({
    ...options,
    types: [SECRETS],
    namespace: EGRESS_NAMESPACE,
    digest: secretTexts,
    onChange: (key, texts) => {
      const name = key.slice(key.indexOf("/") + 1);
      // A new label or annotation changes the object, not what it holds.
      const content = JSON.stringify(texts);
      if (texts === undefined || seen.get(name) === content) return;
      seen.set(name, content);
      store.take(name, texts);
    },
  });
  informer.start();
  return {
    get: (name) => store.get(name),
    subscribe: (listener) => store.subscribe(listener),
    stop: () => informer.stop(),
  };
}

/** `undefined`: of other use than ours, such as a token or a registry's password. */
function secretTexts(object: KubeObject): SecretTexts | undefined {
  const data = textMap(object["data"]);
  const texts: { [K in (typeof SECRET_KEYS)[number]]?: string } = {};
  for (const key of SECRET_KEYS) {
    const encoded = data[key];
    if (encoded !== undefined && encoded !== "") texts[key] = Buffer.from(encoded, "base64").toString("utf8");
  }
  return Object.keys(texts).length === 0 ? undefined : texts;
}
