import type { Logger } from "../../federation/model/log.ts";
import type { Problem } from "../../federation/model/problem.ts";
import type { MemberReport } from "../../federation/model/resource.ts";
import { ok, type Result } from "../../federation/model/result.ts";
import type { Service } from "../../federation/model/service.ts";
import type { Snapshot } from "../../federation/model/snapshot.ts";
import { type SystemRole, systemSpiffeId, type TrustDomain } from "../../federation/model/spiffe-id.ts";
import { createWatch, type Watch } from "../dataplane/lifecycle/watch.ts";
import type { Clock, Random } from "../process/clock.ts";
import { type AddressBook, openAddressBook } from "./address-book.ts";
import { openClusterStateSource } from "./ca-renewal.ts";
import { type ClusterState, readClusterState } from "./cluster-state.ts";
import { type CredentialSource, createCredentialSource } from "./credential-source.ts";
import type { Fetch } from "./http-fetch.ts";
import { createMemberClient, type MemberClient } from "./member-client.ts";
import { createReporter, type Reporter } from "./reporter.ts";
import type { SnapshotSourceStatus } from "./snapshot-poll.ts";
import { openSnapshotSource, type SnapshotSource } from "./snapshot-source.ts";
import { noServices, type ServicesSource } from "./services-source.ts";
import { createStaticSource } from "./static-source.ts";
import { openStaticServices, type StaticFileProblem } from "./static-services.ts";

export interface DiscoveryOptions {
  readonly role: SystemRole;
  /** `gateway-1` */
  readonly member: string;
  readonly stateDir: string;
  readonly servicesFile?: string;
  /** Instead of a file. */
  readonly servicesSource?: ServicesSource;
  /** Instead of the URL the cluster joined. */
  readonly registry?: string;
  readonly svidTtlMs?: number;
  readonly version: string;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: Random;
  readonly fetch?: Fetch;
}

/** What the process tells of itself; the rest of the report comes from discovery. */
export type SelfReport = Pick<MemberReport, "listeners" | "tunnels" | "advertise" | "admin" | "canaries">;

/** Everything a gateway or agent learns, assembled; it is usable as soon as it is open, registry or not. */
export interface Discovery {
  readonly state: Watch<ClusterState>;
  readonly credentials: CredentialSource;
  /** `undefined`: never had one. Starts from the last good one on disk. */
  readonly snapshot: Watch<Snapshot | undefined>;
  readonly status: Watch<SnapshotSourceStatus>;
  readonly services: ServicesSource;
  readonly addresses: AddressBook;
  /** Speaks to the registry as this member. */
  readonly registry: MemberClient;
  /** Begins to report; call it once the process serves. `changed` announces that `describe` answers something new. */
  startReporting(describe: () => SelfReport): { changed(): void };
  stop(): void;
}

/** Fails only on what is wrong on this machine; a services file's problem brings the places. */
export async function openDiscovery(
  options: DiscoveryOptions,
): Promise<Result<Discovery, Problem | StaticFileProblem>> {
  const { role, stateDir, clock, random, log, servicesSource } = options;
  const initial = readClusterState(stateDir);
  if (!initial.ok) return initial;
  const opened = await openServices(options, initial.value.trustDomain);
  if (!opened.ok) return opened;
  const services = opened.value;

  const stateSource = openClusterStateSource({ stateDir, initial: initial.value, clock, random, log });
  const { state } = stateSource;
  const bundles = createWatch(initial.value.bundles);
  const credentials = createCredentialSource({
    ...options,
    self: systemSpiffeId(initial.value.trustDomain, role),
    state,
    bundles: () => bundles.current,
  });
  const client = createMemberClient({
    ...options,
    registry: options.registry ?? initial.value.registry,
    credential: () => credentials.credential.current,
  });
  const source = await openSnapshotSource({ ...options, state, client });
  const followBundles = (snapshot: Snapshot | undefined): void => {
    if (snapshot !== undefined) bundles.publish(snapshot.bundles);
  };
  followBundles(source.snapshot.current);
  source.snapshot.subscribe(followBundles);
  // Where a controller runs, it renews for all: only it may write the Secret that the others read.
  const renews = servicesSource?.pods === undefined ? role === "gateway" : false;
  if (renews || role === "controller") stateSource.startRenewing(client);

  let reporter: Reporter | undefined;
  return ok({
    state,
    credentials,
    snapshot: source.snapshot,
    status: source.status,
    services,
    addresses: openAddressBook({ stateDir, clock }),
    registry: client,
    startReporting(describe) {
      const { cluster } = initial.value;
      const started = startReporting({ ...options, client, cluster }, source, services, describe);
      reporter = started;
      return { changed: started.reportChanged };
    },
    stop() {
      for (const part of [reporter, source, credentials, stateSource, services]) part?.stop();
    },
  });
}

async function openServices(
  { servicesSource, servicesFile, clock, log }: DiscoveryOptions,
  trustDomain: TrustDomain,
): Promise<Result<ServicesSource, StaticFileProblem>> {
  if (servicesSource !== undefined) return ok(servicesSource);
  if (servicesFile === undefined) return ok(noServices());
  const file = await openStaticServices({ path: servicesFile, clock, log });
  return file.ok ? ok(createStaticSource(file.value.cluster, trustDomain, () => file.value.stop())) : file;
}

function startReporting(
  options: DiscoveryOptions & { readonly client: MemberClient; readonly cluster: string },
  source: SnapshotSource,
  { topology }: ServicesSource,
  describe: () => SelfReport,
): Reporter {
  const { role, version } = options;
  const reporter = createReporter({
    ...options,
    report: () => ({ role, version, ...appliedState(source), ...selfOf(role, describe()) }),
    ...(role === "gateway"
      ? { services: (): readonly Service[] | undefined => topology.current.offered }
      : {}),
  });
  source.snapshot.subscribe(reporter.reportChanged);
  topology.subscribe((next, previous) => {
    if (next.offered !== previous.offered) reporter.servicesChanged();
  });
  source.status.subscribe((next, previous) => {
    if (next.connected && !previous.connected) reporter.reconnected();
    else if (next.refusedCode !== previous.refusedCode) reporter.reportChanged();
  });
  reporter.reportChanged();
  reporter.servicesChanged();
  return reporter;
}

/** Only gateways are dialled from elsewhere. */
function selfOf(role: DiscoveryOptions["role"], self: SelfReport): SelfReport {
  if (role === "gateway") return self;
  const { advertise: _, ...rest } = self;
  return rest;
}

function appliedState({
  snapshot,
  status,
}: SnapshotSource): Pick<MemberReport, "appliedRevision" | "state" | "code"> {
  const appliedRevision = snapshot.current?.revision ?? 0;
  const { refusedCode } = status.current;
  return refusedCode === undefined
    ? { appliedRevision, state: "applied" }
    : { appliedRevision, state: "refused", code: refusedCode };
}
