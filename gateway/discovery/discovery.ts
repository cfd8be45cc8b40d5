import type { Logger } from "../../federation/model/log.ts";
import type { Problem } from "../../federation/model/problem.ts";
import type { MemberReport } from "../../federation/model/resource.ts";
import { ok, type Result } from "../../federation/model/result.ts";
import type { Service } from "../../federation/model/service.ts";
import type { Snapshot } from "../../federation/model/snapshot.ts";
import { type SystemRole, systemSpiffeId, type TrustDomain } from "../../federation/model/spiffe-id.ts";
import type { TrustBundle } from "../../federation/model/trust-bundle.ts";
import type { ClusterCa } from "../../federation/trust/index.ts";
import { createWatch, type Watch } from "../dataplane/lifecycle/watch.ts";
import type { Clock, Random } from "../process/clock.ts";
import { type AddressBook, openAddressBook } from "./address-book.ts";
import { openCertifiedSource, openClusterStateSource, openMembershipSource } from "./ca-renewal.ts";
import { type ClusterState, type Membership, readClusterState, readMembership } from "./cluster-state.ts";
import { type CredentialSource, createCredentialSource } from "./credential-source.ts";
import { type IdentityIssuer, openIssuedCredentials } from "./issued-credentials.ts";
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
  /** Who gives this process its identities; absent: it holds the cluster's CA and mints them itself. */
  readonly issuer?: IdentityIssuer;
  /** Gateways whose issuer is outside: the request that the cluster's CA was, or is to be, certified by (PKCS #10 in PEM). */
  readonly caRequest?: () => Result<string, Problem>;
  /** Why it has no identity yet. */
  readonly onWaiting?: (reason: Problem) => void;
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
  readonly state: Watch<Membership>;
  /** Only where this process holds the cluster's CA. */
  readonly ca?: Watch<{ readonly ca: ClusterCa }>;
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
  const { role, clock } = options;
  const opened = openIdentity(options);
  if (!opened.ok) return opened;
  const { initial, state } = opened.value;
  const found = await openServices(options, initial.trustDomain);
  if (!found.ok) return found;
  const services = found.value;
  const bundles = createWatch(initial.bundles);
  const credentials = await opened.value.credentials(() => bundles.current);
  const client = createMemberClient({
    ...options,
    registry: options.registry ?? initial.registry,
    credential: () => credentials.credential.current,
  });
  const source = await openSnapshotSource({ ...options, state, client });
  const followBundles = (snapshot: Snapshot | undefined): void => {
    if (snapshot !== undefined) bundles.publish(snapshot.bundles);
  };
  followBundles(source.snapshot.current);
  source.snapshot.subscribe(followBundles);
  if (role === "gateway") opened.value.startRenewing?.(client);
  const { pods } = services;
  const follow = pods?.accounts?.subscribe((accounts) => credentials.want(accounts));
  credentials.want(pods?.accounts?.current ?? []);

  let reporter: Reporter | undefined;
  return ok({
    state,
    ...(opened.value.ca === undefined ? {} : { ca: opened.value.ca }),
    credentials,
    snapshot: source.snapshot,
    status: source.status,
    services,
    addresses: openAddressBook({ stateDir: options.stateDir, clock }),
    registry: client,
    startReporting(describe) {
      const { cluster } = initial;
      const started = startReporting({ ...options, client, cluster }, source, services, describe);
      reporter = started;
      return { changed: started.reportChanged };
    },
    stop() {
      follow?.();
      for (const part of [reporter, source, credentials, opened.value, services]) part?.stop();
    },
  });
}

interface OpenedIdentity {
  readonly initial: Membership;
  readonly state: Watch<Membership>;
  readonly ca?: Watch<ClusterState>;
  credentials(bundles: () => readonly TrustBundle[]): Promise<CredentialSource>;
  startRenewing?(client: MemberClient): void;
  stop(): void;
}

/** With the cluster's CA in the state directory, or with somebody to ask. */
function openIdentity(options: DiscoveryOptions): Result<OpenedIdentity, Problem> {
  const { role, stateDir, issuer, caRequest } = options;
  const selfOf = ({ trustDomain }: Membership) => systemSpiffeId(trustDomain, role);
  if (issuer !== undefined) {
    const read = readMembership(stateDir);
    if (!read.ok) return read;
    const initial = read.value;
    const source =
      caRequest === undefined
        ? openMembershipSource({ ...options, initial })
        : openCertifiedSource({ ...options, initial }, caRequest);
    const self = selfOf(initial);
    // An agent knows whose identities it needs; a gateway learns it from who calls.
    const onDemand = role === "gateway";
    return ok({
      ...source,
      initial,
      credentials: (bundles) =>
        openIssuedCredentials({ ...options, ...source, issuer, self, bundles, onDemand }),
    });
  }
  const read = readClusterState(stateDir);
  if (!read.ok) return read;
  const initial = read.value;
  const source = openClusterStateSource({ ...options, initial });
  const self = selfOf(initial);
  return ok({
    ...source,
    initial,
    ca: source.state,
    credentials: async (bundles) => createCredentialSource({ ...options, ...source, self, bundles }),
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
