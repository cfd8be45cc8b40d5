import type { JSONWebKeySet } from "jose";
import type { Problem } from "../../federation/model/problem.ts";
import type { Result } from "../../federation/model/result.ts";
import type { TrustDomain } from "../../federation/model/spiffe-id.ts";
import type { TrustBundle } from "../../federation/model/trust-bundle.ts";
import type { ClusterCa } from "../../federation/trust/index.ts";

/** What a cluster holds after it joined. All its processes share it. */
export interface ClusterState {
  readonly federation: string;
  readonly cluster: string;
  readonly trustDomain: TrustDomain;
  readonly registry: string;
  readonly snapshotKeys: JSONWebKeySet;
  readonly joinedAt: string;
  readonly bundles: readonly TrustBundle[];
  readonly ca: ClusterCa;
}
export declare function readClusterState(stateDir: string): Result<ClusterState, Problem>;
