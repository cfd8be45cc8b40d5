import { createHash, timingSafeEqual } from "node:crypto";
import { type Problem, problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import {
  type BundleIndex,
  createJoinToken,
  indexBundles,
  encodePem,
  isKeyOf,
  issueClusterCaWith,
  issueOperatorToken,
  parseCertificate,
  parseCsr,
  type RootSigner,
  type SigningKey,
  signKeySet,
  signSnapshot,
  type TrustAnchors,
  verifyJoinToken,
  verifyMemberRequest,
  verifyOperatorToken,
} from "../trust/index.ts";
import type { Authority, Caller, SignedRequest } from "./authority.ts";
import { timestamp } from "./clock.ts";
import {
  acceptedKeys,
  activeKey,
  foundingRing,
  type PublicSigningKey,
  verifyingKeys,
} from "./signing-ring.ts";
import { SpentIds } from "./spent-ids.ts";
import type { FederationState } from "./state.ts";

/** A renewal whose answer got lost is repeated within this time, and gets the same certificate again. */
const SAME_ISSUE_MS = 10 * 60_000;

const SHARED_ROOT_SEQUENCE = 1;

/** Where signing keys lie beside the one that the federation was founded with. */
export interface KeyShelf {
  make(): Promise<SigningKey>;
  find(kid: string): Promise<SigningKey | undefined>;
  remove(kid: string): Promise<void>;
}

/** The registry's authority over keys that lie at hand. */
export function createTrustAuthority(options: {
  readonly federation: string;
  readonly root: RootSigner;
  /** That the federation was founded with. */
  readonly key: SigningKey;
  readonly shelf: KeyShelf;
  /** Hex; the one token that exists before any other can be issued. */
  readonly adminTokenSha256: string;
}): Authority {
  const { federation, root, key, shelf } = options;
  const foundingKey = publicKeyOf(key);
  const founded = foundingRing(foundingKey, 0);
  const ringOf = ({ signing }: FederationState) => signing ?? founded;
  const verifying = (state: FederationState) => ({ keys: [...verifyingKeys(ringOf(state))] });
  const signer = async (state: FederationState): Promise<SigningKey> => {
    const { kid = "" } = activeKey(ringOf(state))?.key ?? {};
    const found = kid === key.kid ? key : await shelf.find(kid);
    if (found === undefined)
      throw new Error(
        `the signing key ${kid} is missing here: copy signing-${kid}.key from the registry that rotated it`,
      );
    return found;
  };
  const verifyMember = createMemberVerifier(federation);
  return {
    root: { sequence: SHARED_ROOT_SEQUENCE, x509Authorities: [root.certificateDer.toString("base64")] },
    foundingKey,
    snapshotKeys: (state) => ({ keys: acceptedKeys(ringOf(state)).map((one) => ({ ...one })) }),
    signKeySet: (set) => signKeySet({ federation, ...set }, root),
    makeSigningKey: async () => publicKeyOf(await shelf.make()),
    dropSigningKey: (kid) => shelf.remove(kid),
    async issueClusterCa({ csr, trustDomain, now }) {
      const issued = await issueClusterCaWith({ root, csrPem: csr, trustDomain, now });
      if (!issued.ok) return issued;
      const certificate = readCertificate(issued.value);
      return ok({
        certificatePem: encodePem("CERTIFICATE", issued.value),
        certificateDer: issued.value.toString("base64"),
        notAfter: timestamp(certificate.notAfterMs),
      });
    },
    isSameIssue(a, b) {
      const [one, other] = [a, b].map((der) => readCertificate(Buffer.from(der, "base64")));
      if (one === undefined || other === undefined) return false;
      const apart = Math.abs(one.notBeforeMs - other.notBeforeMs);
      return apart <= SAME_ISSUE_MS && one.publicKeyInfo.equals(other.publicKeyInfo);
    },
    issuedFor(csr, certificates) {
      const request = parseCsr(csr);
      if (!request.ok) return undefined;
      const { publicKey, spiffeUri } = request.value;
      return certificates.find((certificate) => {
        const made = readCertificate(Buffer.from(certificate, "base64"));
        return made.names.uris.join() === spiffeUri && isKeyOf(made, publicKey);
      });
    },
    async createJoinToken(cluster, state, now) {
      const request = { key: await signer(state), federation, cluster, now };
      const { token, jti, expiresAtMs } = await createJoinToken(request);
      return { token, tokenId: jti, expiresAt: timestamp(expiresAtMs) };
    },
    async verifyJoinToken(token, state, now) {
      const claims = await verifyJoinToken(token, { keySet: verifying(state), federation, now });
      return claims.ok ? ok({ cluster: claims.value.cluster, tokenId: claims.value.jti }) : claims;
    },
    signSnapshot: async (snapshot, state, form) => signSnapshot(snapshot, await signer(state), form),
    async issueOperatorToken({ subject, role, expiresInSeconds }, state, now) {
      const lifetimeMs = expiresInSeconds * 1_000;
      return issueOperatorToken({ key: await signer(state), federation, subject, role, now, lifetimeMs });
    },
    async verifyOperator(token, state, now) {
      if (isAdminToken(token, options.adminTokenSha256))
        return ok({ kind: "operator", subject: "bootstrap-admin", role: "admin" });
      // Issued tokens are JWTs; anything else was meant to be the one secret of the first start.
      if (!token.includes("."))
        return err(problem("unauthenticated", "the token is not the admin token of this registry"));
      const operator = await verifyOperatorToken(token, { keySet: verifying(state), federation, now });
      if (!operator.ok) return operator;
      return ok({ kind: "operator", subject: operator.value.subject, role: operator.value.role });
    },
    verifyMember,
  };
}

export function publicKeyOf({ kid, publicJwk }: SigningKey): PublicSigningKey {
  return { kty: "OKP", crv: "Ed25519", x: publicJwk.x ?? "", kid, use: "sig", alg: "Ed25519" };
}

/** Of our own making; one that cannot be read is a fault of ours. */
function readCertificate(der: Buffer) {
  const certificate = parseCertificate(der);
  if (!certificate.ok) throw new TypeError(certificate.error);
  return certificate.value;
}

function isAdminToken(token: string, sha256: string): boolean {
  const expected = Buffer.from(sha256, "hex");
  const given = createHash("sha256").update(token).digest();
  return expected.length === given.length && timingSafeEqual(expected, given);
}

function createMemberVerifier(federation: string): Authority["verifyMember"] {
  const anchorsOf = createAnchorCache();
  const spent = new SpentIds();
  const suffix = `.${federation}`;
  return (request: SignedRequest, state: FederationState, now: number): Result<Caller, Problem> => {
    const bundles: BundleIndex = {
      get(trustDomain) {
        if (!trustDomain.endsWith(suffix)) return undefined;
        const record = state.clusters.get(trustDomain.slice(0, -suffix.length))?.record;
        return record === undefined ? undefined : anchorsOf(trustDomain, record.authorities);
      },
    };
    const { header, method, url, body } = request;
    const spend = (id: string, untilMs: number): boolean => spent.spend(id, untilMs, now);
    const verified = verifyMemberRequest(header, { method, url, body, bundles, now, spend });
    if (!verified.ok) return verified;
    const { signer, signature } = verified.value;
    const { trustDomain } = signer;
    if (!trustDomain.endsWith(suffix))
      return err(problem("member_request_invalid", `${trustDomain} is not of ${federation}`));
    return ok({
      kind: "member",
      cluster: trustDomain.slice(0, -suffix.length),
      id: signer,
      signature,
    });
  };
}

/** Parsed CA certificates, made once per list; a renewed list is another one. */
function createAnchorCache() {
  const known = new WeakMap<readonly string[], TrustAnchors>();
  return (
    trustDomain: TrustAnchors["trustDomain"],
    authorities: readonly string[],
  ): TrustAnchors | undefined => {
    const cached = known.get(authorities);
    if (cached !== undefined) return cached;
    const bundle = { trustDomain, sequence: SHARED_ROOT_SEQUENCE, x509Authorities: authorities };
    const anchors = indexBundles([bundle]).get(trustDomain);
    if (anchors !== undefined) known.set(authorities, anchors);
    return anchors;
  };
}
