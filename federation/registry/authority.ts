import type { Problem } from "../model/problem.ts";
import type { Result } from "../model/result.ts";
import type { SpiffeId, TrustDomain } from "../model/spiffe-id.ts";
import type { Jwks, OperatorTokenRequest, Role } from "../model/wire/api.ts";
import type { JwsParts, MemberSignature, SnapshotForm } from "../trust/index.ts";
import type { RootBundle } from "./compile-snapshot.ts";
import type { IssuedCa, IssuedJoinToken } from "./plan/clusters.ts";
import type { PublicSigningKey, SigningRing } from "./signing-ring.ts";
import type { FederationState } from "./state.ts";

/** Who asks: an operator by role, or a member of one cluster. */
export type Caller =
  | { readonly kind: "operator"; readonly subject: string; readonly role: Role }
  | {
      readonly kind: "member";
      readonly cluster: string;
      readonly id: SpiffeId;
      /** So that it is worth something once. */
      readonly signature: MemberSignature;
    };

export interface SignedRequest {
  /** The whole Authorization header. */
  readonly header: string;
  readonly method: string;
  readonly url: string;
  readonly body: Uint8Array;
}

/** What the registry needs of keys and signatures. */
export interface Authority {
  readonly root: RootBundle;
  /** The only key there was before any was rotated. */
  readonly foundingKey: PublicSigningKey;
  /** Of the keys that members accept. */
  snapshotKeys(state: FederationState): Jwks;
  /** What members take, vouched for by the root. */
  signKeySet(
    set: Pick<SigningRing, "sequence"> & { readonly keys: readonly PublicSigningKey[] },
  ): Promise<string>;
  /** A new key, kept where keys are kept. */
  makeSigningKey(): Promise<PublicSigningKey>;
  /** It signs nothing any more. */
  dropSigningKey(kid: string): Promise<void>;
  issueClusterCa(request: {
    readonly csr: string;
    readonly trustDomain: TrustDomain;
    readonly now: number;
  }): Promise<Result<IssuedCa, Problem>>;
  /** Whether two CA certificates (DER, base64) are for the same key and begin within a few minutes of each other. */
  isSameIssue(a: string, b: string): boolean;
  /** The first of these CA certificates (DER, base64) that has the request's name and key; `undefined` also for a bad request. */
  issuedFor(csr: string, certificates: readonly string[]): string | undefined;
  createJoinToken(cluster: string, state: FederationState, now: number): Promise<IssuedJoinToken>;
  verifyJoinToken(
    token: string,
    state: FederationState,
    now: number,
  ): Promise<Result<{ readonly cluster: string; readonly tokenId: string }, Problem>>;
  /** `snapshot` as JSON. */
  signSnapshot(snapshot: Buffer, state: FederationState, form: SnapshotForm): Promise<JwsParts>;
  issueOperatorToken(
    request: OperatorTokenRequest,
    state: FederationState,
    now: number,
  ): Promise<{ readonly token: string; readonly expiresAtMs: number }>;
  verifyOperator(token: string, state: FederationState, now: number): Promise<Result<Caller, Problem>>;
  verifyMember(request: SignedRequest, state: FederationState, now: number): Result<Caller, Problem>;
}
