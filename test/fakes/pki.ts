/** A federation's certificates for tests: good ones in one call, wrong ones by naming what is wrong. */
import { createPublicKey } from "node:crypto";
import {
  parseTrustDomain,
  type SpiffeId,
  type TrustDomain,
  workloadSpiffeId,
} from "../../federation/model/spiffe-id.ts";
import type { TrustBundle } from "../../federation/model/trust-bundle.ts";
import {
  type BundleIndex,
  type ClusterCa,
  type Credential,
  createClusterKey,
  createCsr,
  createRoot,
  encodePem,
  indexBundles,
  issueClusterCa,
  issueSvid,
  loadClusterCa,
  loadRoot,
  privateKeyToPem,
  type Root,
} from "../../federation/trust/index.ts";
import {
  type CertificateSpec,
  distinguishedName,
  issueCertificate,
  type KeyUsage,
} from "../../federation/trust/issue-certificate.ts";
import { createP256Key } from "../../federation/trust/keys.ts";
import { parseCertificate } from "../../federation/trust/certificate.ts";
import type { Result } from "../../federation/model/result.ts";

const HOUR_MS = 3_600_000;

/** What may be wrong with a credential; everything unsaid is right. */
export interface CredentialOverrides {
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
  /** Instead of the workload's ID; `[]` for none. */
  readonly uriSans?: readonly string[];
  readonly dnsSans?: readonly string[];
  readonly ca?: boolean;
  readonly keyUsage?: readonly KeyUsage[];
  readonly extendedKeyUsage?: CertificateSpec["extendedKeyUsage"];
  readonly extra?: CertificateSpec["extra"];
  /** Signs and is presented instead of the cluster's own CA. */
  readonly signedBy?: ClusterCa;
  /** Presented instead of leaf and CA. */
  readonly chain?: (leaf: Buffer, ca: Buffer) => readonly Buffer[];
}

export interface TestCluster {
  readonly name: string;
  readonly trustDomain: TrustDomain;
  readonly ca: ClusterCa;
}

export interface TestFederation {
  readonly name: string;
  readonly root: Root;
  readonly rootPem: string;
  readonly bundles: readonly TrustBundle[];
  readonly index: BundleIndex;
  readonly now: number;
  cluster(name: string): TestCluster;
  credential(
    cluster: string,
    namespace: string,
    account: string,
    overrides?: CredentialOverrides,
  ): Credential;
  /** A gateway's or an agent's. */
  system(cluster: string, role: "gateway" | "agent", overrides?: CredentialOverrides): Credential;
}

export function createTestFederation(
  name: string,
  clusters: readonly string[],
  now: number = Date.now(),
): TestFederation {
  const files = createRoot({ federation: name, now });
  const root = unwrap(loadRoot(files));
  const byName = new Map(clusters.map((cluster) => [cluster, createTestCluster(name, cluster, root, now)]));
  const bundles = [...byName.values()].map(({ trustDomain, ca }) => ({
    ...bundleOf(trustDomain, root.certificateDer),
    intermediates: [ca.certificateDer.toString("base64")],
  }));
  const cluster = (wanted: string): TestCluster => {
    const found = byName.get(wanted);
    if (found === undefined) throw new Error(`no test cluster ${wanted}`);
    return found;
  };
  const credential: TestFederation["credential"] = (of, namespace, account, overrides) => {
    const { ca, trustDomain } = cluster(of);
    return mintCredential(ca, workloadSpiffeId(trustDomain, namespace, account), now, overrides);
  };
  return {
    name,
    root,
    rootPem: files.certificatePem,
    bundles,
    index: indexBundles(bundles),
    now,
    cluster,
    credential,
    system: (of, role, overrides) => credential(of, "isthmus-system", role, overrides),
  };
}

/** The CA of a cluster, as the registry and the cluster make it together. */
export function createTestCluster(federation: string, name: string, root: Root, now: number): TestCluster {
  const trustDomain = unwrap(parseTrustDomain(`${name}.${federation}`));
  const privateKey = createClusterKey();
  const csrPem = createCsr({ privateKey, trustDomain });
  const certificatePem = unwrap(issueClusterCa({ root, csrPem, trustDomain, now }));
  const ca = unwrap(loadClusterCa({ certificatePem, privateKeyPem: privateKeyToPem(privateKey) }));
  return { name, trustDomain, ca };
}

export function bundleOf(trustDomain: TrustDomain, ...authorities: readonly Buffer[]): TrustBundle {
  return { trustDomain, sequence: 1, x509Authorities: authorities.map((der) => der.toString("base64")) };
}

/** Anything that a CA's key can sign, right or wrong. Without overrides it is what `issueSvid` makes. */
export function mintCredential(
  own: ClusterCa,
  spiffeId: SpiffeId,
  now: number,
  overrides: CredentialOverrides = {},
): Credential {
  if (Object.keys(overrides).length === 0) return issueSvid({ ca: own, spiffeId, now });
  const ca = overrides.signedBy ?? own;
  const privateKey = createP256Key();
  const notBeforeMs = overrides.notBeforeMs ?? now - 60_000;
  const notAfterMs = overrides.notAfterMs ?? now + HOUR_MS;
  const leaf = issueCertificate({
    subject: overrides.ca === true ? distinguishedName("a leaf that is a CA") : undefined,
    publicKey: createPublicKey(privateKey),
    issuer: { subjectDer: ca.subjectDer },
    signingKey: ca.privateKey,
    notBeforeMs,
    notAfterMs,
    ca: overrides.ca === true ? {} : undefined,
    keyUsage: overrides.keyUsage ?? ["digitalSignature"],
    extendedKeyUsage: overrides.extendedKeyUsage ?? ["serverAuth", "clientAuth"],
    uriSans: overrides.uriSans ?? [spiffeId.uri],
    dnsSans: overrides.dnsSans ?? [],
    permittedUriHosts: [],
    ...(overrides.extra === undefined ? {} : { extra: overrides.extra }),
  });
  const chainDer = overrides.chain?.(leaf, ca.certificateDer) ?? [leaf, ca.certificateDer];
  return {
    spiffeId,
    chainDer,
    chainPem: chainDer.map((der) => encodePem("CERTIFICATE", der)).join(""),
    privateKey,
    privateKeyPem: privateKeyToPem(privateKey),
    notBeforeMs,
    notAfterMs,
  };
}

export interface TestCaOptions {
  readonly trustDomain: TrustDomain;
  readonly now: number;
  /** Of the CA above; absent for a self-signed one. */
  readonly parent?: {
    readonly certificateDer: Buffer;
    readonly subjectDer: Buffer;
    readonly privateKey: ClusterCa["privateKey"];
  };
  readonly overrides?: Partial<CertificateSpec>;
}

/** A CA with anything wrong about it, or a root of one's own for a trust domain. */
export function createTestCa({ trustDomain, now, parent, overrides = {} }: TestCaOptions): ClusterCa {
  const privateKey = createP256Key();
  const certificateDer = issueCertificate({
    subject: distinguishedName(`${trustDomain} CA`),
    publicKey: createPublicKey(privateKey),
    issuer: parent,
    signingKey: parent?.privateKey ?? privateKey,
    notBeforeMs: now - 60_000,
    notAfterMs: now + 24 * HOUR_MS,
    ca: {},
    keyUsage: ["keyCertSign", "cRLSign"],
    extendedKeyUsage: [],
    uriSans: [`spiffe://${trustDomain}`],
    dnsSans: [],
    permittedUriHosts: [],
    ...overrides,
  });
  const parsed = unwrap(parseCertificate(certificateDer));
  return {
    trustDomain,
    certificateDer,
    certificatePem: encodePem("CERTIFICATE", certificateDer),
    subjectDer: parsed.subject,
    publicKeyInfo: parsed.publicKeyInfo,
    privateKey,
    notBeforeMs: parsed.notBeforeMs,
    notAfterMs: parsed.notAfterMs,
  };
}

/** The value of a result that a test has no doubt about. */
export function unwrap<T>(result: Result<T, unknown>): T {
  if (!result.ok) throw new Error(`unexpected refusal: ${JSON.stringify(result.error)}`);
  return result.value;
}
