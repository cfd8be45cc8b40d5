import { version as versionSchema } from "../../../federation/model/wire/fields.ts";
import type { KubeObject } from "../api/object.ts";
import { addresses, fieldsOf, list, text, textMap } from "./fields.ts";

/** What is kept of a Pod: whose address is whose. */
export interface KubePod {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly node?: string;
  readonly addresses: readonly string[];
  /** Of the services that it serves, as its labels say. */
  readonly version?: string;
}

/** Ours first, for pods whose `version` means something else; that one is what other meshes go by. */
const VERSION_LABELS = ["isthmus.dev/version", "version"];

/** `undefined` for pods that no address stands for: finished ones, and those that use their node's. */
export function digestPod(object: KubeObject): KubePod | undefined {
  const { namespace, labels } = object.metadata;
  const version = VERSION_LABELS.map((label) => labels?.[label]).find(
    (value) => versionSchema.safeParse(value).success,
  );
  const spec = fieldsOf(object.spec);
  const status = fieldsOf(object.status);
  const phase = text(status["phase"]);
  if (namespace === undefined || spec["hostNetwork"] === true) return undefined;
  // The address of a finished pod may belong to another one already.
  if (phase === "Succeeded" || phase === "Failed") return undefined;
  const podIps = list(status["podIPs"]).flatMap((item) => text(fieldsOf(item)["ip"]) ?? []);
  const single = text(status["podIP"]);
  const node = text(spec["nodeName"]);
  return {
    namespace,
    serviceAccount: text(spec["serviceAccountName"]) ?? "default",
    addresses: addresses(podIps.length > 0 || single === undefined ? podIps : [single]),
    ...(node === undefined ? {} : { node }),
    ...(version === undefined ? {} : { version }),
  };
}

/** Which account a pod runs under, and which Services select it. */
export interface PodAccount {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly labels: { readonly [key: string]: string };
}

/** `undefined` for finished ones. */
export function digestAccount({ metadata, spec, status }: KubeObject): PodAccount | undefined {
  const { namespace, labels } = metadata;
  const phase = text(fieldsOf(status)["phase"]);
  if (namespace === undefined || phase === "Succeeded" || phase === "Failed") return undefined;
  const serviceAccount = text(fieldsOf(spec)["serviceAccountName"]) ?? "default";
  return { namespace, serviceAccount, labels: textMap(labels) };
}
