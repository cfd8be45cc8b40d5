import { readFileSync } from "node:fs";
import { parseAllDocuments, stringify } from "yaml";

/** What an installation is made of, in the order in which it is applied. */
const BASE = [
  "base/namespace.yaml",
  "base/config.yaml",
  "base/rbac.yaml",
  "base/controller.yaml",
  "base/gateway.yaml",
];
const CRDS = ["crds/isthmus.yaml", "crds/multicluster.yaml"];
const FOLDER = new URL("../../../infra/kubernetes/", import.meta.url);

export interface InstallSettings {
  readonly registry: string;
  /** Where other clusters dial the gateways. */
  readonly advertise: string;
  /** Absent: the cluster has joined already. */
  readonly joinToken?: string;
  /** Instead of `isthmus`: `registry.example.com/isthmus`. */
  readonly imagePrefix?: string;
  readonly imageTag?: string;
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  data?: Record<string, string>;
  spec?: { template?: { spec: { containers: { image: string }[] } } };
}

/** Everything that `kubectl apply -f -` needs, as YAML documents. */
export function installManifest(settings: InstallSettings): string {
  const documents = [...CRDS, ...BASE].flatMap(readManifests).map((document) => filledIn(document, settings));
  const token = settings.joinToken === undefined ? [] : [joinSecret(settings.joinToken)];
  return render([...documents, ...token]);
}

/**
 * What `kubectl delete -f -` needs: the reverse. Our own kinds go too, and with them their objects; the MCS kinds stay
 * unless asked for, because others may use them.
 */
export function uninstallManifest(withMcs: boolean): string {
  const crds = withMcs ? CRDS : CRDS.slice(0, 1);
  return render([...crds, ...BASE].flatMap(readManifests).reverse());
}

function readManifests(file: string): readonly Manifest[] {
  const text = readFileSync(new URL(file, FOLDER), "utf8");
  return parseAllDocuments(text).map((document) => document.toJS() as Manifest);
}

function filledIn(document: Manifest, settings: InstallSettings): Manifest {
  if (document.kind === "ConfigMap") {
    const { registry, advertise } = settings;
    return {
      ...document,
      data: { ...document.data, ISTHMUS_REGISTRY: registry, ISTHMUS_ADVERTISE: advertise },
    };
  }
  for (const container of document.spec?.template?.spec.containers ?? [])
    container.image = imageOf(container.image, settings);
  return document;
}

/** `isthmus/gateway:0.1.0` under another prefix or tag. */
function imageOf(image: string, { imagePrefix, imageTag }: InstallSettings): string {
  const [name = "", tag = ""] = image.split(":");
  const role = name.split("/").at(-1) ?? name;
  return `${imagePrefix ?? "isthmus"}/${role}:${imageTag ?? tag}`;
}

function joinSecret(token: string): Manifest & { readonly stringData: Record<string, string> } {
  return {
    apiVersion: "v1",
    kind: "Secret",
    type: "Opaque",
    metadata: { name: "isthmus-join", namespace: "isthmus-system" },
    stringData: { token },
  } as Manifest & { readonly stringData: Record<string, string> };
}

function render(documents: readonly Manifest[]): string {
  return documents.map((document) => stringify(document, { aliasDuplicateObjects: false })).join("---\n");
}
