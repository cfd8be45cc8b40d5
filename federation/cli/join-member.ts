import { ok, type Result } from "../model/result.ts";
import { type Failure, fail } from "./failure.ts";

export interface JoinRequest {
  readonly registryUrl: string;
  readonly token: string;
  readonly stateDir: string;
  /** Replaces the membership that the directory holds. */
  readonly force?: boolean;
  readonly now: () => number;
}

export interface Membership {
  readonly federation: string;
  readonly cluster: string;
  readonly trustDomain: string;
}

/** The members' own code joins; it brings all of the cryptography and is loaded only where it is needed. */
export function loadMembership() {
  return import("../../gateway/discovery/membership.ts");
}

/** Redeems a join token. */
export async function joinMember({
  registryUrl,
  token,
  stateDir,
  force = false,
  now,
}: JoinRequest): Promise<Result<Membership, Failure>> {
  const { joinCluster } = await loadMembership();
  const clock = {
    now,
    after(ms: number, run: () => void) {
      const timer = setTimeout(run, ms);
      return { cancel: () => clearTimeout(timer) };
    },
  };
  const joined = await joinCluster({ registryUrl, token, stateDir, clock, force });
  return joined.ok ? ok(joined.value) : fail(joined.error.name, joined.error.detail);
}
