// Longer than other files: one line or two for every use case, found in one place.
import { bundlesToMap, encodePem, type MemberSignature, type SnapshotForm } from "../trust/index.ts";
import { ok, type Result } from "../model/result.ts";
import type { AppliedResource, ClusterStatus, MemberReport } from "../model/resource.ts";
import type { Service } from "../model/service.ts";
import type {
  ApplyRequest,
  ApplyResponse,
  AuditList,
  BundleMap,
  ClusterDeleteResponse,
  DeclareRequest,
  DeclareResponse,
  DeleteResponse,
  JoinResponse,
  RegisterResponse,
  RenewResponse,
  ServicesResponse,
} from "../model/wire/api.ts";
import type { Authority } from "./authority.ts";
import type { Refusal } from "./change.ts";
import { type Clock, timestamp } from "./clock.ts";
import { compileBundles } from "./compile-snapshot.ts";
import type { TrustDomain } from "../model/spiffe-id.ts";
import type { TrustBundle } from "../model/trust-bundle.ts";
import { createFollower } from "./follower.ts";
import { Ledger, unavailable } from "./ledger.ts";
import { type MemberDirectory, openMemberDirectory } from "./member-directory.ts";
import { checkJoinToken, planDeleteCluster, planJoin, planRegister, planRenew } from "./plan/clusters.ts";
import { KeyRotator } from "./key-rotation.ts";
import { planAdvertise, planServices } from "./plan/members.ts";
import { refuse } from "./plan/refuse.ts";
import { planApply, planDeclare, planDeleteResource } from "./plan/resources.ts";
import { clustersByName, clusterStatus } from "./queries.ts";
import { MemoryArchive } from "./snapshot-archive.ts";
import { RolloutController } from "./rollout-controller.ts";
import { type SignedSnapshot, SnapshotFeed } from "./snapshot-feed.ts";
import { type FederationState, type ItemKey, trustDomainOf } from "./state.ts";
import type { RegistryStore } from "./store.ts";
import { Wakeups, type WakeupLimits } from "./wakeups.ts";

export interface RegistryDeps {
  readonly store: RegistryStore;
  readonly clock: Clock;
  /** Between 0 and 1: spreads what must not happen in step. */
  readonly random: () => number;
  readonly authority: Authority;
  readonly waiting?: WakeupLimits;
  /** What is known already; `refresh` brings what came since. */
  readonly state?: FederationState;
  /** Where several registries follow each other in one process, they share what is not the store's. */
  readonly members?: MemberDirectory;
  readonly archive?: MemoryArchive;
}

type Answer<A> = Promise<Result<A, Refusal>>;

/** Two thousand clusters with a few processes each, and room for a restart's second connection. */
const WAITING: WakeupLimits = { total: 20_000, perName: 500 };

/** The registry's use cases. Who may call which is the HTTP layer's to judge; what they do is planned in `plan/`. */
export class Registry {
  readonly authority: Authority;
  readonly clock: Clock;
  readonly wakeups: Wakeups;
  readonly #store: RegistryStore;
  readonly #ledger: Ledger;
  readonly #follow: () => void;
  readonly #members: MemberDirectory;
  readonly #snapshots: SnapshotFeed;
  readonly rollouts: RolloutController;
  readonly keys: KeyRotator;

  private constructor(deps: RegistryDeps, state: FederationState, members: MemberDirectory) {
    const { store, clock, random, authority } = deps;
    this.authority = authority;
    this.clock = clock;
    this.wakeups = new Wakeups(clock, deps.waiting ?? WAITING);
    this.#store = store;
    this.#follow = createFollower({
      clock,
      random,
      waiting: () => this.wakeups.waiting,
      refresh: () => this.#ledger.refresh(),
    });
    this.#members = members;
    const archive = deps.archive ?? new MemoryArchive();
    this.#snapshots = new SnapshotFeed({ authority, store, archive, clock });
    this.#ledger = new Ledger({ store, clock, random, root: authority.root }, state, (changed) => {
      for (const name of changed) this.wakeups.wake(name);
    });
    this.rollouts = new RolloutController(this.#ledger, clock);
    this.keys = new KeyRotator(this.#ledger, authority, clock);
    void this.rollouts.look();
  }

  static async open(deps: RegistryDeps): Answer<Registry> {
    const state = deps.state === undefined ? await deps.store.load() : ok(deps.state);
    if (!state.ok) return unavailable(state.error);
    const members = deps.store.shared ? ok([]) : await deps.store.members();
    if (!members.ok) return unavailable(members.error);
    const directory = deps.members ?? openMemberDirectory(deps.store, deps.clock, members.value);
    return ok(new Registry(deps, state.value, directory));
  }

  /** Follows what other instances wrote; whoever is about to decide or to answer calls it first. */
  async refresh(): Answer<void> {
    const unread = await this.#ledger.refresh();
    return unread === undefined ? ok(undefined) : unavailable(unread);
  }

  get state(): FederationState {
    return this.#ledger.state;
  }

  get snapshotTimes(): SnapshotFeed["times"] {
    return this.#snapshots.times;
  }

  get writable(): boolean {
    return this.#ledger.writable;
  }

  async register(actor: string, name: string, dryRun: boolean): Answer<RegisterResponse> {
    const issued = await this.authority.createJoinToken(name, this.state, this.clock.now());
    const answer = await this.#ledger.execute({ actor, dryRun }, (state) =>
      planRegister(state, { name, time: this.#time(), issued }),
    );
    if (!answer.ok || !dryRun) return answer;
    const { token: _token, expiresAt: _expiresAt, ...rest } = answer.value;
    return ok(rest);
  }

  async join(request: { readonly token: string; readonly csr: string }): Answer<JoinResponse> {
    const claims = await this.authority.verifyJoinToken(request.token, this.state, this.clock.now());
    if (!claims.ok) return { ok: false, error: { problem: claims.error } };
    const { cluster, tokenId } = claims.value;
    const trustDomain = trustDomainOf(this.state.federation, cluster);
    const admit = (certificatePem: string): JoinResponse => {
      const { federation } = this.state;
      return { federation, cluster, trustDomain, ...this.#trust(trustDomain, certificatePem) };
    };
    // Before any certificate is made: a spent token must not cost a signature.
    const spendable = checkJoinToken(this.state, cluster, tokenId);
    if (!spendable.ok) return this.#admittedBefore(cluster, tokenId, request.csr, admit) ?? spendable;
    const ca = await this.authority.issueClusterCa({ csr: request.csr, trustDomain, now: this.clock.now() });
    if (!ca.ok) return { ok: false, error: { problem: ca.error } };
    const joined = await this.#ledger.execute({ actor: `cluster:${cluster}` }, (state) =>
      planJoin(state, { cluster, tokenId, ca: ca.value, time: this.#time() }),
    );
    if (!joined.ok) return this.#admittedBefore(cluster, tokenId, request.csr, admit) ?? joined;
    return ok(admit(ca.value.certificatePem));
  }

  /**
   * The admission that this token gave, for whoever asks again with the key that was admitted: the answer got lost, or its
   * receiver died before it was kept. Nothing changes by it, and another key is as late as ever.
   */
  #admittedBefore(
    cluster: string,
    tokenId: string,
    csr: string,
    admit: (certificatePem: string) => JoinResponse,
  ): Result<JoinResponse, Refusal> | undefined {
    const record = this.state.clusters.get(cluster)?.record;
    if (record?.spentTokenId !== tokenId) return undefined;
    const issued = this.authority.issuedFor(csr, record.authorities);
    return issued === undefined
      ? undefined
      : ok(admit(encodePem("CERTIFICATE", Buffer.from(issued, "base64"))));
  }

  async renew(actor: string, cluster: string, csr: string): Answer<RenewResponse> {
    const trustDomain = trustDomainOf(this.state.federation, cluster);
    const issued = await this.authority.issueClusterCa({ csr, trustDomain, now: this.clock.now() });
    if (!issued.ok) return { ok: false, error: { problem: issued.error } };
    const last = this.state.clusters.get(cluster)?.record.authorities[0];
    // A repetition, because the answer got lost or two processes of the cluster renew: they share one certificate.
    if (last !== undefined && this.authority.isSameIssue(last, issued.value.certificateDer))
      return ok(this.#trust(trustDomain, encodePem("CERTIFICATE", Buffer.from(last, "base64"))));
    const renewed = await this.#ledger.execute({ actor }, (state) =>
      planRenew(state, { cluster, ca: issued.value }),
    );
    return renewed.ok ? ok(this.#trust(trustDomain, issued.value.certificatePem)) : renewed;
  }

  async deleteCluster(actor: string, name: string, dryRun: boolean): Answer<ClusterDeleteResponse> {
    const deleted = await this.#ledger.execute({ actor, dryRun }, (state) =>
      planDeleteCluster(state, { name, dryRun }),
    );
    if (!deleted.ok || dryRun) return deleted;
    // What is left behind means nothing: the cluster's certificates are none any more.
    await this.#members.forget(name);
    // Its members must hear that they are none any more, and not wait for news.
    this.wakeups.wake(name);
    return deleted;
  }

  reportServices(actor: string, cluster: string, services: readonly Service[]): Answer<ServicesResponse> {
    return this.#ledger.execute({ actor }, (state) =>
      planServices(state, { cluster, services, time: this.#time() }),
    );
  }

  async reportMember(
    actor: string,
    cluster: string,
    member: string,
    { report, sequence }: { readonly report: MemberReport; readonly sequence: number },
  ): Answer<void> {
    const reported = await this.#members.report(cluster, member, report, sequence);
    if (!reported.ok) return unavailable(reported.error);
    if (reported.value === "full")
      return refuse("limit_exceeded", `cluster ${cluster} has as many members as a cluster may have`);
    if (reported.value === "late")
      return refuse("member_request_invalid", `${member} sent this before, or something later`);
    if (report.role === "gateway" && this.#isNewAddress(cluster, member, report.advertise)) {
      // What others hear of must not be turned back after a crash by an earlier report that is played back.
      await this.#members.flush();
      const advertised = await this.#advertise(actor, cluster, member, report.advertise);
      if (!advertised.ok) return advertised;
    }
    this.rollouts.report(cluster, member, report.canaries);
    return ok(undefined);
  }

  /** `undefined`: too many wait already. Otherwise resolves at news of the cluster, after `ms`, or when `signal` aborts. */
  waitForNews(cluster: string, ms: number, signal: AbortSignal): Promise<void> | undefined {
    const waiting = this.wakeups.wait(cluster, ms, signal);
    if (this.#store.shared) this.#follow();
    return waiting;
  }

  #isNewAddress(cluster: string, member: string, address: string | undefined): boolean {
    const gateways = this.state.clusters.get(cluster)?.record.gateways ?? [];
    return gateways.find(({ id }) => id === member)?.address !== address;
  }

  /**
   * Each process remembers the signatures that it saw; what changes something must not be repeated to another one, or to
   * the one that comes after it.
   */
  async spendSignature(signature: MemberSignature): Answer<void> {
    const spent = await this.#store.spend(signature.id, signature.untilMs, this.clock.now());
    if (!spent.ok) return unavailable(spent.error);
    return spent.value
      ? ok(undefined)
      : refuse("member_request_invalid", "the same signature was used before");
  }

  /** A gateway that is gone for good: its address leaves the snapshots of others. */
  async forgetMember(actor: string, cluster: string, member: string): Answer<void> {
    const withdrawn = await this.#advertise(actor, cluster, member, undefined);
    if (!withdrawn.ok) return withdrawn;
    const forgotten = await this.#members.forget(cluster, member);
    return forgotten.ok ? withdrawn : unavailable(forgotten.error);
  }

  #advertise(actor: string, cluster: string, member: string, address: string | undefined): Answer<void> {
    return this.#ledger.execute({ actor }, (state) => planAdvertise(state, { cluster, member, address }));
  }

  async apply(actor: string, request: ApplyRequest): Answer<ApplyResponse> {
    const { requestToken, dryRun = false } = request;
    const resources: readonly AppliedResource[] = request.resources;
    const repeatable =
      requestToken === undefined
        ? {}
        : { request: { token: requestToken, meaning: JSON.stringify(resources) } };
    const applied = await this.#ledger.execute({ actor, dryRun, ...repeatable }, (state) =>
      planApply(state, { resources, dryRun, time: this.#time() }),
    );
    if (applied.ok && !dryRun && resources.some(({ kind }) => kind === "Rollout")) await this.rollouts.look();
    return applied;
  }

  declare(actor: string, cluster: string, { resources, gateways }: DeclareRequest): Answer<DeclareResponse> {
    return this.#ledger.execute({ actor }, (state) =>
      planDeclare(state, { cluster, resources, gateways, time: this.#time() }),
    );
  }

  deleteResource(
    actor: string,
    command: {
      readonly key: ItemKey;
      readonly resourceVersion: number | undefined;
      readonly dryRun: boolean;
    },
  ): Answer<DeleteResponse> {
    return this.#ledger.execute({ actor, dryRun: command.dryRun }, (state) =>
      planDeleteResource(state, command),
    );
  }

  async clusterStatuses(): Answer<readonly ClusterStatus[]> {
    const members = await this.#members.all();
    if (!members.ok) return unavailable(members.error);
    return ok(
      clustersByName(this.state).map((cluster) =>
        clusterStatus(this.state, cluster, members.value.get(cluster.record.name) ?? []),
      ),
    );
  }

  async clusterStatus(name: string): Answer<ClusterStatus> {
    const cluster = this.state.clusters.get(name);
    if (cluster === undefined) return refuse("not_found", `there is no cluster ${name}`);
    const members = await this.#members.list(name);
    return members.ok ? ok(clusterStatus(this.state, cluster, members.value)) : unavailable(members.error);
  }

  async audit(page: { readonly after: number; readonly limit: number }): Answer<AuditList> {
    const items = await this.#store.audit(page);
    if (!items.ok) return unavailable(items.error);
    const last = items.value.at(-1);
    return items.value.length < page.limit || last === undefined
      ? ok({ items: items.value })
      : ok({ items: items.value, next: last.revision });
  }

  bundles(): BundleMap {
    return bundleMapOf(compileBundles(this.state, this.authority.root));
  }

  /** `form`: that the asker can read beside `whole`, or `whole`. */
  snapshot(cluster: string, form: SnapshotForm): ReturnType<SnapshotFeed["current"]> {
    return this.#snapshots.current(this.state, cluster, form);
  }

  /** What leads from an earlier revision of a cluster's snapshot to `signed`; `undefined`: send it whole. */
  snapshotDelta(cluster: string, from: number, signed: SignedSnapshot): Promise<string | undefined> {
    return this.#snapshots.delta(cluster, from, signed);
  }

  /** What has to be done now and then; nothing depends on when. `makesKeys`: a new key is everywhere at once. */
  async maintain({ makesKeys }: { readonly makesKeys: boolean }): Answer<void> {
    const refreshed = await this.refresh();
    if (!refreshed.ok) return refreshed;
    const cleaned = await this.#store.cleanUp(this.clock.now());
    if (!cleaned.ok) return unavailable(cleaned.error);
    return this.keys.advance("registry", makesKeys);
  }

  /** Lets go of everyone who waits, and writes down what was heard last. */
  async close(): Promise<void> {
    this.wakeups.wakeAll();
    this.rollouts.close();
    await this.#members.flush();
    this.#store.close();
  }

  /** Its own bundle and nobody else's: whom else it may trust, its snapshot says. */
  #trust(trustDomain: TrustDomain, caCertificate: string): RenewResponse {
    const bundles = bundleMapOf([{ trustDomain, ...this.authority.root }]);
    return { caCertificate, bundles, snapshotKeys: this.authority.snapshotKeys(this.state) };
  }

  #time(): string {
    return timestamp(this.clock.now());
  }
}

/** As the wire has it: the same members, whose JWKs the one type names one by one. */
function bundleMapOf(bundles: readonly TrustBundle[]): BundleMap {
  return bundlesToMap(bundles) as object as BundleMap;
}
