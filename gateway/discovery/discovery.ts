import type { Logger } from "../../federation/model/log.ts";
import type { Problem } from "../../federation/model/problem.ts";
import type { MemberReport } from "../../federation/model/resource.ts";
import type { Result } from "../../federation/model/result.ts";
import type { Snapshot } from "../../federation/model/snapshot.ts";
import type { StaticCluster } from "../../federation/model/static-cluster.ts";
import type { Watch } from "../dataplane/lifecycle/watch.ts";
import type { Clock, Random } from "../process/clock.ts";
import type { AddressBook } from "./address-book.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { CredentialSource } from "./credential-source.ts";
import type { SnapshotSourceStatus } from "./snapshot-source.ts";

export interface DiscoveryOptions {
  readonly role: "gateway" | "agent";
  /** `gateway-1` */
  readonly member: string;
  readonly stateDir: string;
  readonly servicesFile?: string;
  /** Instead of the URL the cluster joined. */
  readonly registry?: string;
  readonly svidTtlMs?: number;
  readonly version: string;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: Random;
  readonly fetch?: typeof fetch;
}

/** What the process tells of itself; the rest of the report comes from discovery. */
export type SelfReport = Pick<MemberReport, "listeners" | "tunnels" | "advertise" | "admin">;

/** Everything a gateway or agent learns, assembled; it is usable as soon as it is open, registry or not. */
export interface Discovery {
  readonly state: ClusterState;
  readonly credentials: CredentialSource;
  /** `undefined`: never had one. Starts from the last good one on disk. */
  readonly snapshot: Watch<Snapshot | undefined>;
  readonly status: Watch<SnapshotSourceStatus>;
  /** `undefined`: no services file was given. */
  readonly services: Watch<StaticCluster | undefined>;
  readonly addresses: AddressBook;
  /** Begins to report; call it once the process serves. `changed` announces that `describe` answers something new. */
  startReporting(describe: () => SelfReport): { changed(): void };
  stop(): void;
}
export declare function openDiscovery(options: DiscoveryOptions): Promise<Result<Discovery, Problem>>;
