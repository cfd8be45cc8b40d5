/** Everything of this folder that others may use. */
export { bundleFromJwks, bundlesFromMap, bundlesToMap, bundleToJwks } from "./bundle-document.ts";
export type { BundleDocument, BundleMapDocument } from "./bundle-document.ts";
export { indexBundles } from "./bundle-index.ts";
export type { BundleIndex, TrustAnchors } from "./bundle-index.ts";
export { mintCallerToken, verifyCallerToken } from "./caller-token.ts";
export type { VerifiedCaller } from "./caller-token.ts";
export { acceptClusterCa, isKeyOf, loadClusterCa, loadClusterCaCertificate } from "./cluster-ca.ts";
export type { ClusterCa, ClusterCaCertificate } from "./cluster-ca.ts";
export { createClusterKey, createCsr, createSvidCsr, parseCsr } from "./csr.ts";
export { createJoinToken, peekJoinToken, verifyJoinToken } from "./join-token.ts";
export type { JoinToken, JoinTokenClaims } from "./join-token.ts";
export { privateKeyFromPem, privateKeyToPem, publicKeyFromDer } from "./keys.ts";
export {
  MEMBER_SCHEME,
  type MemberSignature,
  signMemberRequest,
  verifyMemberRequest,
} from "./member-request.ts";
export type { MemberRequestExpectation } from "./member-request.ts";
export { isRole, issueOperatorToken, ROLES, roleCovers, verifyOperatorToken } from "./operator-token.ts";
export type { Operator, Role } from "./operator-token.ts";
export { joinJws, splitJws } from "./jws.ts";
export type { JwsParts } from "./jws.ts";
export { decodePem, encodePem } from "./pem.ts";
export { parseCertificate } from "./certificate.ts";
export {
  createRoot,
  createRootWith,
  issueClusterCa,
  issueClusterCaWith,
  loadRoot,
  loadRootSigner,
  localRootSigner,
} from "./root.ts";
export type { Root, RootSigner } from "./root.ts";
export { readSecretFile, writeSecretFile } from "./secret-file.ts";
export { createSigningKey, loadSigningKey, signingKeySet } from "./signing-key.ts";
export type { SigningKey } from "./signing-key.ts";
export { signKeySet, verifyKeySet } from "./key-set-document.ts";
export type { KeySet } from "./key-set-document.ts";
export { formOf, signSnapshot, verifySnapshot } from "./snapshot-signature.ts";
export type { SnapshotForm } from "./snapshot-signature.ts";
export {
  acceptSvid,
  issueSvid,
  rotationDueMs,
  shouldRotate,
  signSvid,
  svidPem,
  verifyIssuedChain,
} from "./svid.ts";
export type { Credential, IssuedChain, SignedSvid } from "./svid.ts";
export { verifyChain } from "./verify-chain.ts";
export type { VerifiedChain } from "./verify-chain.ts";
