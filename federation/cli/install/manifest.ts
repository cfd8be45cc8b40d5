import { readFileSync } from "node:fs";
import { parseAllDocuments, stringify } from "yaml";
import { applyComponent } from "./component.ts";

/** What an installation is made of, in the order in which it is applied. */
const BASE = [
  "base/namespace.yaml",
  "base/config.yaml",
  "base/rbac.yaml",
  "base/controller.yaml",
  "base/gateway.yaml",
];
const AGENTS = "overlays/agents/agent.yaml";
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
  /** The key of the cluster's CA is with an issuer outside. */
  readonly ca?: ExternalCaSettings;
  /** On every node one, as the overlay of that name has it. */
  readonly agents?: boolean;
}

export interface ExternalCaSettings {
  /** The request by which the federation's root certifies it. */
  readonly csrPem: string;
  /** Instead of the issuer `isthmus-ca` of our namespace. */
  readonly issuer?: string;
}

interface Manifest {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  data?: Record<string, string>;
  spec?: { template?: { spec: { containers: { image: string; env?: Setting[] }[] } } };
}

interface Setting {
  readonly name: string;
  value?: string;
}

/** Everything that `kubectl apply -f -` needs, as YAML documents. */
export function installManifest(settings: InstallSettings): string {
  const files = [...CRDS, ...BASE, ...(settings.agents === true ? [AGENTS] : [])];
  const documents = files.flatMap(readManifests).map((document) => filledIn(document, settings));
  const token = settings.joinToken === undefined ? [] : [joinSecret(settings.joinToken)];
  const own = [settingsMap(settings), ...token];
  if (settings.ca === undefined) return render([...documents, ...own]);
  applyComponent(documents, new URL("components/external-ca/kustomization.yaml", FOLDER));
  const { issuer } = settings.ca;
  for (const setting of documents.flatMap(settingsOf))
    if (issuer !== undefined && setting.name === "ISTHMUS_CA_ISSUER") setting.value = issuer;
  return render([...documents, ...own, caRequest(settings.ca)]);
}

/**
 * What `kubectl delete --ignore-not-found -f -` needs: the reverse, and agents' roles, which belong to no namespace. Our own
 * kinds go too, and with them their objects; the MCS kinds stay unless asked for, because others may use them.
 */
export function uninstallManifest(withMcs: boolean): string {
  const crds = withMcs ? CRDS : CRDS.slice(0, 1);
  return render([...crds, ...BASE, AGENTS].flatMap(readManifests).reverse());
}

function readManifests(file: string): readonly Manifest[] {
  const text = readFileSync(new URL(file, FOLDER), "utf8");
  return parseAllDocuments(text).map((document) => document.toJS() as Manifest);
}

function filledIn(document: Manifest, settings: InstallSettings): Manifest {
  if (document.kind === "Namespace" && settings.agents === true) return withAgents(document);
  for (const container of document.spec?.template?.spec.containers ?? [])
    container.image = imageOf(container.image, settings);
  return document;
}

/** Agents use their node's network, which a restricted namespace does not admit. */
function withAgents(document: Manifest): Manifest {
  const { metadata } = document;
  if (metadata.name !== "isthmus-system") return document;
  const labels = { ...metadata.labels, "pod-security.kubernetes.io/enforce": "privileged" };
  return { ...document, metadata: { ...metadata, labels } };
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

/** An object of its own, since whoever applies an overlay writes all objects of `base` anew. */
function settingsMap({ registry, advertise }: InstallSettings): Manifest {
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: {
      name: "isthmus-install",
      namespace: "isthmus-system",
      labels: { "app.kubernetes.io/part-of": "isthmus" },
    },
    data: { ISTHMUS_REGISTRY: registry, ISTHMUS_ADVERTISE: advertise },
  } as Manifest;
}

function caRequest({ csrPem }: ExternalCaSettings): Manifest {
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "isthmus-ca", namespace: "isthmus-system" },
    data: { "ca.csr": csrPem },
  } as Manifest;
}

function settingsOf({ spec }: Manifest): readonly Setting[] {
  return (spec?.template?.spec.containers ?? []).flatMap(({ env = [] }) => env);
}

function render(documents: readonly Manifest[]): string {
  return documents.map((document) => stringify(document, { aliasDuplicateObjects: false })).join("---\n");
}
