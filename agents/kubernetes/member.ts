// Longer than other files: how a process of each role comes into being in a cluster, in order.
import { readFileSync } from "node:fs";
import type { Logger } from "../../federation/model/log.ts";
import { type Problem, PROBLEMS, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import type { SystemRole } from "../../federation/model/spiffe-id.ts";
import { compilePeerTrust, type Watch } from "../../gateway/dataplane/index.ts";
import {
  type ClusterState,
  createPush,
  type Discovery,
  type IdentityIssuer,
  joinCluster,
  type Membership,
  readClusterState,
  readMembership,
} from "../../gateway/discovery/index.ts";
import { systemClock, systemRandom } from "../../gateway/process/clock.ts";
import type { ProcessConfig } from "../../gateway/process/config.ts";
import type { Closable, Prepared } from "../../gateway/process/member.ts";
import type { CapturedPort } from "../capture/rules.ts";
import { createIssuer } from "../identity/issuer.ts";
import { createIssuerClient } from "../identity/issuer-client.ts";
import { openIssuerServer } from "../identity/issuer-server.ts";
import { createLocalSigner } from "../identity/svid-signer.ts";
import { createTokenReviewer } from "../identity/token-review.ts";
import { createKubeClient, type KubeClient } from "./api/client.ts";
import { problemOf } from "./api/failure.ts";
import { createInformer } from "./api/informer.ts";
import { asKubeObject, type OwnerReference } from "./api/object.ts";
import {
  apiVersionOf,
  CLUSTER_ROLES,
  CONFIG_MAPS,
  ENDPOINT_SLICES,
  pathOf,
  SECRETS,
} from "./api/resource-type.ts";
import {
  CLUSTER_SECRET,
  publicFilesOf,
  readClusterConfig,
  readClusterSecret,
  type StateFiles,
  stateFilesOf,
  writeClusterConfig,
  writeClusterSecret,
  writeStateFiles,
} from "./cluster-secret.ts";
import { findKubeAccess } from "./config.ts";
import { digestSlice, sliceAddresses } from "./digest/endpoint-slice.ts";
import { fieldsOf, list } from "./digest/fields.ts";
import { ISSUER_SERVICE, SYSTEM_NAMESPACE } from "./labels.ts";
import { followSecrets } from "./secrets.ts";
import type { MeshView } from "./mesh-view.ts";
import { serveNames } from "./serve-names.ts";
import { KubernetesSource } from "./source.ts";

const RETRY_MS = 1_000;
const PUBLISH_BACKOFF = { baseMs: 500, capMs: 30_000 } as const;
/** Where the manifest mounts the token for the issuer. */
const DEFAULT_TOKEN_FILE = "/var/run/secrets/isthmus/token";

export interface KubernetesMember extends Prepared {
  readonly client: KubeClient;
  /** Agents only: what to capture on their node. */
  readonly captured?: Watch<readonly CapturedPort[]>;
  /** Agents only: the cluster's own services, and the pods here that nobody may call plainly. */
  readonly mesh?: MeshView;
  /** Controllers only: what their manifest brought, as the owner of what they make. */
  readonly installation?: OwnerReference;
}

/** The one object of the manifest that has no namespace and goes only with it. */
const INSTALLATION = "isthmus-controller";

export async function findInstallation(
  client: KubeClient,
  log: Logger,
): Promise<{ readonly installation?: OwnerReference }> {
  const answer = await client.request({ method: "GET", path: pathOf(CLUSTER_ROLES, { name: INSTALLATION }) });
  if (!answer.ok && answer.error.kind !== "not_found") {
    // Works without: only what it makes then does not go with the installation.
    const { name, detail } = problemOf(`get clusterroles ${INSTALLATION}`, answer.error);
    log.warn("installation_unknown", { code: PROBLEMS[name].code, detail });
  }
  const uid = answer.ok ? asKubeObject(answer.value)?.metadata.uid : undefined;
  if (uid === undefined) return {};
  const { kind } = CLUSTER_ROLES;
  return { installation: { apiVersion: apiVersionOf(CLUSTER_ROLES), kind, name: INSTALLATION, uid } };
}

/** What a gateway, an agent or a controller needs before it starts in a cluster: the API server, and a membership. */
export async function prepareMember(
  role: SystemRole,
  config: ProcessConfig,
  log: Logger,
): Promise<Result<KubernetesMember, Problem>> {
  const access = await findKubeAccess(config.kubernetes);
  if (!access.ok) return err(problem("config_invalid", access.error));
  const client = createKubeClient(access.value);
  const state = await obtainMembership(role, config, client, log);
  if (!state.ok) return state;
  const { trustDomain } = state.value;
  followMembership(role, config.stateDir, client, log);
  const issuer = role === "gateway" ? undefined : askIssuer(config, client, state.value);
  const given = issuer === undefined ? {} : { issuer };
  if (role === "controller") return ok({ client, ...given, ...(await findInstallation(client, log)) });
  const servicesSource = new KubernetesSource({
    client,
    trustDomain,
    role,
    ...(config.node === undefined ? {} : { node: config.node }),
    clock: systemClock,
    random: systemRandom,
    log,
  });
  servicesSource.start();
  const common = { client, servicesSource, captured: servicesSource.captured };
  if (role === "agent") return ok({ ...common, ...given, mesh: servicesSource.mesh });
  const named = await serveNames(config, servicesSource.imported, log);
  if (!named.ok) return named;
  const secrets = followSecrets({ client, clock: systemClock, random: systemRandom, log });
  const serve = (discovery: Discovery) => serveIdentities(config, client, servicesSource, discovery, log);
  return ok({ ...common, secrets, serve });
}

/** Waits for the membership; a gateway that has a join token makes it. */
async function obtainMembership(
  role: SystemRole,
  config: ProcessConfig,
  client: KubeClient,
  log: Logger,
): Promise<Result<Membership, Problem>> {
  const { stateDir } = config;
  const holdsCa = role === "gateway";
  const kind = holdsCa ? "Secret" : "ConfigMap";
  let complaint = "";
  for (;;) {
    const found = await (holdsCa ? readClusterSecret(client) : readClusterConfig(client));
    if (found.ok && found.value !== undefined) {
      writeStateFiles(stateDir, found.value);
      return holdsCa ? readClusterState(stateDir) : readMembership(stateDir);
    }
    let waiting = found.ok
      ? problem("state_unusable", `the ${kind} ${CLUSTER_SECRET} is not there yet; a gateway makes it`)
      : problemOf(`get ${kind.toLowerCase()}s ${CLUSTER_SECRET}`, found.error);
    if (found.ok && holdsCa) {
      const joined = await joinWithToken(config, client);
      if (joined.ok) {
        log.info("cluster_joined", { cluster: joined.value.cluster, federation: joined.value.federation });
        continue;
      }
      // Another gateway was first, and is about to write the Secret.
      if (joined.error.name !== "join_token_spent") return joined;
      waiting = joined.error;
    }
    if (complaint !== waiting.detail)
      log.warn("membership_awaited", { code: PROBLEMS[waiting.name].code, detail: waiting.detail });
    complaint = waiting.detail;
    await new Promise((resolve) => systemClock.after(RETRY_MS, () => resolve(undefined)));
  }
}

async function joinWithToken(
  { stateDir, joinTokenFile, registry }: ProcessConfig,
  client: KubeClient,
): Promise<Result<ClusterState, Problem>> {
  if (joinTokenFile === undefined || registry === undefined) {
    return err(
      problem(
        "config_invalid",
        "this cluster has not joined: set ISTHMUS_JOIN_TOKEN_FILE and ISTHMUS_REGISTRY",
      ),
    );
  }
  let token: string;
  try {
    token = readFileSync(joinTokenFile, "utf8").trim();
  } catch (error) {
    return err(problem("file_unreadable", `${joinTokenFile}: ${(error as Error).message}`));
  }
  // Joined by an earlier attempt that could not keep it: the token is spent, the membership is here.
  const earlier = readClusterState(stateDir);
  const joined = earlier.ok
    ? earlier
    : await joinCluster({ registryUrl: registry, token, stateDir, clock: systemClock, force: true });
  if (!joined.ok) return joined;
  const kept = await writeClusterSecret(client, stateDir, "create");
  if (kept.ok || kept.error.kind === "conflict") return joined;
  return err(problemOf(`create secrets ${CLUSTER_SECRET}`, kept.error));
}

/** Renewed by a gateway, read by everyone: the state directory's own watch does the rest. */
function followMembership(role: SystemRole, stateDir: string, client: KubeClient, log: Logger): void {
  const holdsCa = role === "gateway";
  createInformer<StateFiles>({
    client,
    types: [holdsCa ? SECRETS : CONFIG_MAPS],
    namespace: SYSTEM_NAMESPACE,
    fieldSelector: `metadata.name=${CLUSTER_SECRET}`,
    clock: systemClock,
    random: systemRandom,
    log,
    digest: holdsCa ? stateFilesOf : publicFilesOf,
    onChange: (_, next) => {
      if (next !== undefined && writeStateFiles(stateDir, next)) log.info("membership_updated");
    },
  }).start();
}

/** For a process without the CA's key: a gateway of its cluster issues its identities. */
function askIssuer(
  { identityTokenFile = DEFAULT_TOKEN_FILE }: ProcessConfig,
  client: KubeClient,
  { trustDomain, bundles }: Membership,
): IdentityIssuer {
  const trust = compilePeerTrust(bundles, []);
  return createIssuerClient({
    trustDomain,
    trust: () => trust,
    addresses: () => issuerAddresses(client),
    token() {
      try {
        return ok(readFileSync(identityTokenFile, "utf8").trim());
      } catch (error) {
        return err(problem("file_unreadable", `${identityTokenFile}: ${(error as Error).message}`));
      }
    },
    now: systemClock.now,
    random: systemRandom,
  });
}

/** Asked afresh each time, which is every half an hour: gateways come and go. */
async function issuerAddresses(client: KubeClient): Promise<Result<readonly string[], Problem>> {
  let failure: Problem | undefined;
  for (const type of ENDPOINT_SLICES) {
    const answer = await client.request({
      method: "GET",
      path: pathOf(type, { namespace: SYSTEM_NAMESPACE }),
      query: { labelSelector: `kubernetes.io/service-name=${ISSUER_SERVICE.name}` },
    });
    if (answer.ok) {
      const slices = list(fieldsOf(answer.value)["items"]).flatMap((item) => {
        const object = asKubeObject(item);
        return object === undefined ? [] : (digestSlice(object) ?? []);
      });
      return ok(slices.flatMap((slice) => sliceAddresses(slice, ISSUER_SERVICE.port)));
    }
    failure ??= problemOf(`list ${type.plural}`, answer.error);
    if (answer.error.kind !== "not_found") break;
  }
  return err(failure ?? problem("kube_unreachable", "list endpointslices"));
}

/** A gateway is its cluster's issuer, and says to all what of the membership is not secret. */
async function serveIdentities(
  config: ProcessConfig,
  client: KubeClient,
  source: KubernetesSource,
  discovery: Discovery,
  log: Logger,
): Promise<Result<Closable, Problem>> {
  const { ca, credentials, state } = discovery;
  if (ca === undefined || config.issuerListen === undefined) return ok({ close: () => {} });
  const issuer = createIssuer({
    trustDomain: state.current.trustDomain,
    reviewer: createTokenReviewer(client, systemClock),
    signer: createLocalSigner(ca, systemClock),
    lifetimeMs: config.svidTtlMs,
    runsOn: () =>
      source.knowsPods
        ? ({ namespace, account }, node) => source.runsOn(namespace, account, node)
        : undefined,
    log,
  });
  const server = await openIssuerServer(config.issuerListen, issuer, credentials.credential);
  if (!server.ok) return server;
  log.info("issuing", { listen: server.value.address });
  // At the start the Secret is what was just read; it must not be put back to that later.
  let isRenewed = false;
  const publication = createPush(
    systemClock,
    systemRandom,
    { gatherMs: 0, backoff: PUBLISH_BACKOFF },
    async () => {
      const kept = isRenewed ? await writeClusterSecret(client, config.stateDir, "replace") : ok(undefined);
      const told = kept.ok ? await writeClusterConfig(client, config.stateDir) : kept;
      if (told.ok) return true;
      const { name, detail } = problemOf(`patch ${CLUSTER_SECRET}`, told.error);
      log.warn("membership_not_written", { code: PROBLEMS[name].code, detail });
      return false;
    },
  );
  publication.changed();
  const unsubscribe = ca.subscribe(() => {
    isRenewed = true;
    publication.changed();
  });
  return ok({
    close() {
      unsubscribe();
      publication.stop();
      server.value.close();
    },
  });
}
