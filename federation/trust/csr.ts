import { type KeyObject, sign, verify } from "node:crypto";
import { problem, type Problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { type SpiffeId, type TrustDomain, trustDomainSpiffeId } from "../model/spiffe-id.ts";
import { expectAlgorithm, importPublicKey, readPublicKeyInfo, wholeBytes } from "./certificate.ts";
import { children, DerError, type DerNode, expect, readDer, readSmallInteger, TAG } from "./der.ts";
import { bitString, encodeDer, integer, octetString, oid, sequence, setOf, tagged } from "./der-write.ts";
import { publicKeyInfo, subjectAltName } from "./issue-certificate.ts";
import { createP256Key, publicPoint } from "./keys.ts";
import { oidName } from "./oids.ts";
import { decodePem, encodePem } from "./pem.ts";

/** What a request asks for, once its own signature has shown that the asker holds the key. */
export interface ClusterCsr {
  readonly publicKey: KeyObject;
  /** The one URI it asks for, as text: the issuer compares it with what it would certify. */
  readonly spiffeUri: string;
}

const LABEL = "CERTIFICATE REQUEST";
// Ours has about 450 bytes.
const MAX_CSR_BYTES = 4096;

/** The key of a cluster's CA, or of an SVID: born where it is used. */
export function createClusterKey(): KeyObject {
  return createP256Key();
}

export function createCsr(request: {
  readonly privateKey: KeyObject;
  readonly trustDomain: TrustDomain;
}): string {
  const { privateKey, trustDomain } = request;
  return createSvidCsr({ privateKey, spiffeId: trustDomainSpiffeId(trustDomain) });
}

/** Asks for one identity; the key stays with whoever asks. */
export function createSvidCsr(request: {
  readonly privateKey: KeyObject;
  readonly spiffeId: SpiffeId;
}): string {
  const { spiffeId } = request;
  const names = subjectAltName([spiffeId.uri], []);
  if (names === undefined) throw new TypeError("a request names an identity");
  const extension = sequence(oid("subjectAltName"), octetString(encodeDer(names)));
  const info = sequence(
    integer(0),
    // No subject: other issuers judge a common name by their rules for host names, and nobody reads it.
    sequence(),
    publicKeyInfo(publicPoint(request.privateKey)),
    tagged(0, sequence(oid("extensionRequest"), setOf(sequence(extension)))),
  );
  const signature = sign("sha256", encodeDer(info), request.privateKey);
  return encodePem(LABEL, encodeDer(sequence(info, sequence(oid("ecdsaWithSha256")), bitString(signature))));
}

/** PKCS #10 as we make it and nothing more: one attribute, asking for one URI. */
export function parseCsr(pem: string): Result<ClusterCsr, Problem> {
  const invalid = (detail: string) => err(problem("csr_invalid", detail));
  if (pem.length > 2 * MAX_CSR_BYTES) return invalid(`it has more than ${2 * MAX_CSR_BYTES} characters`);
  const [der, ...others] = decodePem(LABEL, pem) ?? [];
  if (der === undefined || others.length > 0) return invalid(`not one PEM block of type ${LABEL}`);
  if (der.length > MAX_CSR_BYTES) return invalid(`it has ${der.length} bytes, more than ${MAX_CSR_BYTES}`);
  try {
    return readCsr(der);
  } catch (cause) {
    if (cause instanceof DerError) return invalid(cause.message);
    throw cause;
  }
}

function readCsr(der: Buffer): Result<ClusterCsr, Problem> {
  const [info, algorithm, signature, ...rest] = children(expect(readDer(der), TAG.sequence, "a request"));
  if (rest.length > 0) throw new DerError("a request has three parts");
  expectAlgorithm(algorithm, "the signature algorithm");
  const [version, subject, key, attributes, ...more] = children(expect(info, TAG.sequence, "the request"));
  if (more.length > 0 || readSmallInteger(version, "the version") !== 0) throw new DerError("not version 1");
  expect(subject, TAG.sequence, "the subject");
  const publicKey = importPublicKey(readPublicKeyInfo(key).bytes);
  if (publicKey === undefined) throw new DerError("the public key is not on the curve");
  const signed = expect(info, TAG.sequence, "the request").bytes;
  if (!verify("sha256", signed, publicKey, wholeBytes(signature, "the signature"))) {
    return err(problem("csr_invalid", "its signature was not made by its own key"));
  }
  return ok({ publicKey, spiffeUri: readRequestedUri(attributes) });
}

function readRequestedUri(node: DerNode | undefined): string {
  const attribute = only(children(expect(node, 0xa0, "the attributes")), "attribute");
  const [type, values] = children(expect(attribute, TAG.sequence, "an attribute"));
  if (oidName(expect(type, TAG.oid, "an attribute's type").body) !== "extensionRequest") {
    throw new DerError("an attribute that is not a request for extensions");
  }
  const wanted = only(children(expect(values, TAG.set, "an attribute's values")), "list of extensions");
  const extension = only(children(expect(wanted, TAG.sequence, "the extensions")), "extension");
  const [name, value, ...rest] = children(expect(extension, TAG.sequence, "an extension"));
  if (rest.length > 0 || oidName(expect(name, TAG.oid, "an extension's type").body) !== "subjectAltName") {
    throw new DerError("only alternative names may be asked for");
  }
  const names = readDer(expect(value, TAG.octetString, "an extension's value").body);
  const uri = only(children(expect(names, TAG.sequence, "the alternative names")), "alternative name");
  return expect(uri, 0x86, "the URI").body.toString("latin1");
}

function only(nodes: readonly DerNode[], what: string): DerNode {
  const [node, ...rest] = nodes;
  if (node === undefined || rest.length > 0) throw new DerError(`exactly one ${what} is asked for`);
  return node;
}
