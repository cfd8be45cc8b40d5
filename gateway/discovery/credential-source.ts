import type { SpiffeId } from "../../federation/model/spiffe-id.ts";
import type { Credential } from "../../federation/trust/index.ts";
import type { Watch } from "../dataplane/lifecycle/watch.ts";

export interface CredentialSource {
  /** This process's own SVID with its key; replaced whole at about half of its life. */
  readonly credential: Watch<Credential>;
  /** A credential of any identity of this cluster's trust domain, minted on demand and cached. */
  credentialFor(id: SpiffeId): Credential;
  /** A caller token signed by the workload's own key; cached per workload and audience. */
  callerToken(workload: SpiffeId, audience: string): string;
  stop(): void;
}
