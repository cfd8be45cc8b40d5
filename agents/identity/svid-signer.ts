import type { KeyObject } from "node:crypto";
import type { Problem } from "../../federation/model/problem.ts";
import { ok, type Result } from "../../federation/model/result.ts";
import type { SpiffeId } from "../../federation/model/spiffe-id.ts";
import { type ClusterCa, signSvid, svidPem } from "../../federation/trust/index.ts";
import type { Watch } from "../../gateway/dataplane/index.ts";
import type { Clock } from "../../gateway/process/clock.ts";

/** A request that was judged: who asks may have it, and holds the key. */
export interface SvidRequest {
  readonly csrPem: string;
  readonly publicKey: KeyObject;
  readonly spiffeId: SpiffeId;
  readonly lifetimeMs: number;
}

/** Whoever holds the key of the cluster's CA. Answers the chain as PEM, leaf first. */
export interface SvidSigner {
  sign(request: SvidRequest): Promise<Result<string, Problem>>;
}

/** The CA's key is here. */
export function createLocalSigner(state: Watch<{ readonly ca: ClusterCa }>, clock: Clock): SvidSigner {
  return {
    sign: async ({ publicKey, spiffeId, lifetimeMs }) => {
      const { ca } = state.current;
      return ok(svidPem(signSvid({ ca, publicKey, spiffeId, lifetimeMs, now: clock.now() })));
    },
  };
}
