import "reflect-metadata";
import { spawnSync } from "node:child_process";
import { webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { createInformer, type Informer } from "../../agents/kubernetes/api/informer.ts";
import type { KubeObject } from "../../agents/kubernetes/api/object.ts";
import { CERTIFICATE_REQUESTS, pathOf } from "../../agents/kubernetes/api/resource-type.ts";
import { systemClock } from "../../gateway/process/clock.ts";
import type { KubeApi } from "./kube-world.ts";
import { createMemoryLog } from "./memory-log.ts";

/** How an issuer can be: well, or one way to be of no use. */
export type IssuerMood =
  | "well"
  | "silent"
  | "denies"
  | "fails"
  | "other name"
  | "two names"
  | "lives for months"
  | "clients only"
  | "is a CA"
  | "foreign CA";

/** As cert-manager and the CA behind it: watches CertificateRequests, and signs with @peculiar/x509 what is asked for. */
export interface CertificateIssuer {
  mood: IssuerMood;
  /** SPIFFE IDs that were asked for, in order. */
  readonly asked: readonly string[];
  /** Signs with another CA from now on. */
  use(ca: CaFiles): Promise<void>;
  stop(): void;
}

/** Where an operator keeps a CA; `certificate` is what the federation's root made of `csr`. */
export interface CaFiles {
  readonly key: string;
  readonly csr: string;
  readonly certificate: string;
}

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** A CA's key and request, as the documentation tells an operator to make them. */
export function makeCaRequest(directory: string, name: string, trustDomain: string): CaFiles {
  const [key, csr, certificate] = ["key", "csr", "crt"].map((ending) => join(directory, `${name}.${ending}`));
  if (key === undefined || csr === undefined || certificate === undefined) throw new Error("no names");
  const san = `subjectAltName=URI:spiffe://${trustDomain}`;
  const made = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const named = ["-keyout", key, "-out", csr, "-subj", `/CN=${trustDomain}`, "-addext", san];
  const done = spawnSync("openssl", [...made, ...named], { encoding: "utf8" });
  if (done.status !== 0) throw new Error(done.stderr);
  return { key, csr, certificate };
}

interface Ca {
  readonly certificate: x509.X509Certificate;
  readonly key: webcrypto.CryptoKey;
}

async function loadCa({ key, certificate }: CaFiles): Promise<Ca> {
  const pkcs8 = x509.PemConverter.decodeFirst(readFileSync(key, "utf8"));
  return {
    certificate: new x509.X509Certificate(readFileSync(certificate, "utf8")),
    key: await webcrypto.subtle.importKey("pkcs8", pkcs8, ALGORITHM, true, ["sign"]),
  };
}

interface RequestSpec {
  readonly request: string;
  readonly duration: string;
  readonly usages: readonly string[];
  readonly isCA: boolean;
  readonly issuerRef: { readonly name: string };
}

export async function startCertificateIssuer(
  api: KubeApi,
  issuerName: string,
  files: CaFiles,
): Promise<CertificateIssuer> {
  let ca = await loadCa(files);
  const asked: string[] = [];
  const seen = new Set<string>();
  const answer = async (object: KubeObject): Promise<void> => {
    const spec = object.spec as RequestSpec;
    const { name, uid = "" } = object.metadata;
    if (spec.issuerRef.name !== issuerName || seen.has(uid)) return;
    seen.add(uid);
    const csr = new x509.Pkcs10CertificateRequest(Buffer.from(spec.request, "base64").toString("utf8"));
    if (!(await csr.verify())) throw new Error("the request is not signed by its own key");
    asked.push(uriOf(csr));
    const status = await statusFor(issuer.mood, csr, spec, ca);
    if (status === undefined) return;
    const path = pathOf(CERTIFICATE_REQUESTS, { namespace: "isthmus-system", name }, "status");
    const { apiVersion = "", kind = "" } = object;
    await api.client.request({
      method: "PATCH",
      path,
      query: { fieldManager: "issuer", force: "true" },
      body: { apiVersion, kind, metadata: { name, namespace: "isthmus-system" }, status },
      contentType: "application/apply-patch+yaml",
    });
  };
  const informer: Informer<KubeObject> = createInformer({
    client: api.client,
    types: [CERTIFICATE_REQUESTS],
    clock: systemClock,
    random: Math.random,
    log: createMemoryLog(),
    digest: (object) => ({ apiVersion: "cert-manager.io/v1", kind: "CertificateRequest", ...object }),
    onChange: (_, next) => void (next === undefined ? undefined : answer(next)),
  });
  const issuer: CertificateIssuer = {
    mood: "well",
    asked,
    async use(next) {
      ca = await loadCa(next);
    },
    stop: () => informer.stop(),
  };
  informer.start();
  return issuer;
}

const condition = (type: string, status: string, reason: string, message: string) => ({
  type,
  status,
  reason,
  message,
  lastTransitionTime: new Date().toISOString(),
});
const APPROVED = condition("Approved", "True", "cert-manager.io", "approved by the test");

/** `undefined`: it never comes to an answer. */
async function statusFor(
  mood: IssuerMood,
  csr: x509.Pkcs10CertificateRequest,
  spec: RequestSpec,
  ca: Ca,
): Promise<object | undefined> {
  if (mood === "silent") return undefined;
  if (mood === "denies")
    return { conditions: [condition("Denied", "True", "PolicyDenied", "no policy allows it")] };
  if (mood === "fails")
    return { conditions: [APPROVED, condition("Ready", "False", "Failed", "the vault is sealed")] };
  const signing = mood === "foreign CA" ? await foreignCa(ca) : ca;
  const leaf = await sign(mood, csr, spec, signing);
  const pem = `${leaf.toString("pem")}\n${signing.certificate.toString("pem")}\n`;
  return {
    conditions: [APPROVED, condition("Ready", "True", "Issued", "signed")],
    certificate: Buffer.from(pem).toString("base64"),
    ca: Buffer.from(signing.certificate.toString("pem")).toString("base64"),
  };
}

/** Dates as cert-manager sets them: not a second in the past. */
async function sign(
  mood: IssuerMood,
  csr: x509.Pkcs10CertificateRequest,
  spec: RequestSpec,
  ca: Ca,
): Promise<x509.X509Certificate> {
  const lifeMs = mood === "lives for months" ? 60 * 86_400_000 : Number.parseInt(spec.duration, 10) * 1000;
  const uris = namesFor(mood, uriOf(csr));
  const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;
  const purposes = [
    ...(spec.usages.includes("server auth") && mood !== "clients only" ? [serverAuth] : []),
    ...(spec.usages.includes("client auth") ? [clientAuth] : []),
  ];
  const isCa = mood === "is a CA";
  const usage = isCa ? x509.KeyUsageFlags.keyCertSign : x509.KeyUsageFlags.digitalSignature;
  return x509.X509CertificateGenerator.create({
    serialNumber: `4${Buffer.from(webcrypto.getRandomValues(new Uint8Array(15))).toString("hex")}0`,
    subject: csr.subjectName,
    issuer: ca.certificate.subjectName,
    notBefore: new Date(Math.floor(Date.now() / 1000) * 1000),
    notAfter: new Date(Date.now() + lifeMs),
    signingAlgorithm: ALGORITHM,
    publicKey: await csr.publicKey.export(ALGORITHM, ["verify"]),
    signingKey: ca.key,
    extensions: [
      new x509.BasicConstraintsExtension(isCa, undefined, true),
      new x509.KeyUsagesExtension(usage, true),
      new x509.ExtendedKeyUsageExtension(purposes),
      // RFC 5280 §4.1.2.6: critical where there is no subject.
      new x509.SubjectAlternativeNameExtension(
        uris.map((value) => ({ type: "url", value }) as const),
        csr.subject === "",
      ),
    ],
  });
}

function namesFor(mood: IssuerMood, asked: string): readonly string[] {
  if (mood === "other name") return [asked.replace(/[^/]+$/, "somebody-else")];
  return mood === "two names" ? [asked, `${asked}-too`] : [asked];
}

/** Names itself as the real one does; nobody has certified it. */
async function foreignCa({ certificate }: Ca): Promise<Ca> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const made = await x509.X509CertificateGenerator.createSelfSigned({
    name: certificate.subject,
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      ...certificate.extensions.filter(({ type }) => type === "2.5.29.17"),
    ],
  });
  return { certificate: made, key: keys.privateKey };
}

function uriOf(csr: x509.Pkcs10CertificateRequest): string {
  const names = csr.getExtension("2.5.29.17");
  if (!(names instanceof x509.SubjectAlternativeNameExtension)) throw new Error("the request names nobody");
  const [uri, ...others] = names.names.items;
  if (uri?.type !== "url" || others.length > 0) throw new Error("the request does not ask for one URI");
  return uri.value;
}
