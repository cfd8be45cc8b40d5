import { readFileSync } from "node:fs";
import type { Logger } from "../../federation/model/log.ts";
import { type Problem, PROBLEMS, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import type { SystemRole } from "../../federation/model/spiffe-id.ts";
import type { Watch } from "../../gateway/dataplane/index.ts";
import { type ClusterState, joinCluster, readClusterState } from "../../gateway/discovery/index.ts";
import { systemClock, systemRandom } from "../../gateway/process/clock.ts";
import type { ProcessConfig } from "../../gateway/process/config.ts";
import type { Prepared } from "../../gateway/process/member.ts";
import type { CapturedPort } from "../capture/rules.ts";
import { createKubeClient, type KubeClient } from "./api/client.ts";
import { problemOf } from "./api/failure.ts";
import { createInformer } from "./api/informer.ts";
import { asKubeObject, type OwnerReference } from "./api/object.ts";
import { apiVersionOf, CLUSTER_ROLES, pathOf, SECRETS } from "./api/resource-type.ts";
import {
  CLUSTER_SECRET,
  readClusterSecret,
  type StateFiles,
  stateFilesOf,
  writeClusterSecret,
  writeStateFiles,
} from "./cluster-secret.ts";
import { findKubeAccess } from "./config.ts";
import { SYSTEM_NAMESPACE } from "./labels.ts";
import { followSecrets } from "./secrets.ts";
import { KubernetesSource } from "./source.ts";

const RETRY_MS = 1_000;

export interface KubernetesMember extends Prepared {
  readonly client: KubeClient;
  /** Agents only: what to capture on their node. */
  readonly captured?: Watch<readonly CapturedPort[]>;
  /** Controllers only: what their manifest brought, as the owner of what they make. */
  readonly installation?: OwnerReference;
}

/** The one object of the manifest that has no namespace and goes only with it. */
const INSTALLATION = "isthmus-controller";

export async function findInstallation(
  client: KubeClient,
): Promise<{ readonly installation?: OwnerReference }> {
  const answer = await client.request({ method: "GET", path: pathOf(CLUSTER_ROLES, { name: INSTALLATION }) });
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
  followSecret(config.stateDir, client, log);
  if (role === "controller") return ok({ client, ...(await findInstallation(client)) });
  const servicesSource = new KubernetesSource({
    client,
    trustDomain: state.value.trustDomain,
    role,
    ...(config.node === undefined ? {} : { node: config.node }),
    clock: systemClock,
    random: systemRandom,
    log,
  });
  servicesSource.start();
  const followed = { client, servicesSource, captured: servicesSource.captured };
  if (role !== "gateway") return ok(followed);
  const secrets = followSecrets({ client, clock: systemClock, random: systemRandom, log });
  return ok({ ...followed, secrets });
}

/** Waits for the Secret; a controller that has a join token makes it. */
async function obtainMembership(
  role: SystemRole,
  config: ProcessConfig,
  client: KubeClient,
  log: Logger,
): Promise<Result<ClusterState, Problem>> {
  const { stateDir } = config;
  let complaint = "";
  for (;;) {
    const found = await readClusterSecret(client);
    if (found.ok && found.value !== undefined) {
      writeStateFiles(stateDir, found.value);
      return readClusterState(stateDir);
    }
    const waiting = found.ok
      ? problem("state_unusable", `the Secret ${CLUSTER_SECRET} is not there yet; the controller makes it`)
      : problemOf(`get secrets ${CLUSTER_SECRET}`, found.error);
    if (found.ok && role === "controller") {
      const joined = await joinWithToken(config, client);
      if (!joined.ok) return joined;
      log.info("cluster_joined", { cluster: joined.value.cluster, federation: joined.value.federation });
      continue;
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

/** Renewed by the controller, read by everyone: the state directory's own watch does the rest. */
function followSecret(stateDir: string, client: KubeClient, log: Logger): void {
  createInformer<StateFiles>({
    client,
    types: [SECRETS],
    namespace: SYSTEM_NAMESPACE,
    fieldSelector: `metadata.name=${CLUSTER_SECRET}`,
    clock: systemClock,
    random: systemRandom,
    log,
    digest: stateFilesOf,
    onChange: (_, next) => {
      if (next !== undefined && writeStateFiles(stateDir, next)) log.info("membership_updated");
    },
  }).start();
}
