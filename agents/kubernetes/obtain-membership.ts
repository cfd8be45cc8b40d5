import { readFileSync } from "node:fs";
import type { Logger } from "../../federation/model/log.ts";
import { type Problem, PROBLEMS, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import type { SystemRole } from "../../federation/model/spiffe-id.ts";
import { privateKeyToPem } from "../../federation/trust/index.ts";
import {
  adoptJoinKey,
  joinCluster,
  joinWithCsr,
  type Membership,
  pendingJoinKey,
  readClusterState,
  readMembership,
} from "../../gateway/discovery/index.ts";
import { systemClock, systemRandom } from "../../gateway/process/clock.ts";
import type { ProcessConfig } from "../../gateway/process/config.ts";
import type { KubeClient } from "./api/client.ts";
import { type ApiFailure, problemOf } from "./api/failure.ts";
import { createInformer } from "./api/informer.ts";
import { CONFIG_MAPS, SECRETS } from "./api/resource-type.ts";
import {
  CLUSTER_SECRET,
  publicFilesOf,
  readClusterConfig,
  readClusterSecret,
  reserveClusterKey,
  type StateFiles,
  stateFilesOf,
  writeClusterConfig,
  writeClusterSecret,
  writeStateFiles,
} from "./cluster-secret.ts";
import { SYSTEM_NAMESPACE } from "./labels.ts";

const RETRY_MS = 1_000;
/** Where the overlay for an external CA mounts its request. */
const DEFAULT_CSR_FILE = "/etc/isthmus/ca/ca.csr";

/** Where the membership of a cluster is kept, and how a gateway makes it. */
interface Custody {
  readonly kind: "Secret" | "ConfigMap";
  find(client: KubeClient): Promise<Result<StateFiles | undefined, ApiFailure>>;
  read(stateDir: string): Result<Membership, Problem>;
  /** What has to be kept before the token is spent, so that whoever comes after a crash can spend it again. */
  readonly reserve?: (client: KubeClient, stateDir: string) => Promise<Result<undefined, Problem>>;
  /** Absent: others make it. */
  readonly make?: (config: JoinConfig) => Promise<Result<Membership, Problem>>;
  keep(client: KubeClient, stateDir: string): Promise<Result<undefined, ApiFailure>>;
}

interface JoinConfig extends ProcessConfig {
  readonly registry: string;
  readonly token: string;
}

const joinOptions = ({ registry, token, stateDir }: JoinConfig) => ({
  registryUrl: registry,
  token,
  stateDir,
  clock: systemClock,
  force: true,
});

/** The key of the cluster's CA is the gateways'. */
const WITH_KEY: Custody = {
  kind: "Secret",
  find: readClusterSecret,
  read: readClusterState,
  reserve: reserveKey,
  make: (config) => joinCluster(joinOptions(config)),
  keep: writeClusterSecret,
};

/** All gateways join with the key that one of them made: the registry takes it for one admission, however often it is asked. */
async function reserveKey(client: KubeClient, stateDir: string): Promise<Result<undefined, Problem>> {
  const key = pendingJoinKey(stateDir);
  if (!key.ok) return key;
  const own = privateKeyToPem(key.value);
  const reserved = await reserveClusterKey(client, own);
  if (!reserved.ok) return err(problemOf(`create secrets ${CLUSTER_SECRET}`, reserved.error));
  return reserved.value === own ? ok(undefined) : adoptJoinKey(stateDir, reserved.value);
}

/** It is somebody else's, whoever asks. */
const WITHOUT_KEY: Custody = {
  kind: "ConfigMap",
  find: readClusterConfig,
  read: readMembership,
  keep: writeClusterConfig,
};

/** It is an external issuer's: joining has its request certified. */
const CERTIFIED: Custody = {
  ...WITHOUT_KEY,
  async make(config) {
    const csrPem = readCaRequest(config);
    return csrPem.ok ? joinWithCsr({ ...joinOptions(config), csrPem: csrPem.value }) : csrPem;
  },
};

function custodyOf(role: SystemRole, { caIssuer }: ProcessConfig): Custody {
  if (role !== "gateway") return WITHOUT_KEY;
  return caIssuer === undefined ? WITH_KEY : CERTIFIED;
}

/** Waits for the membership; a gateway that has a join token makes it. */
export async function obtainMembership(
  role: SystemRole,
  config: ProcessConfig,
  client: KubeClient,
  log: Logger,
): Promise<Result<Membership, Problem>> {
  const { stateDir } = config;
  const custody = custodyOf(role, config);
  const { kind } = custody;
  let complaint = "";
  for (;;) {
    const found = await custody.find(client);
    if (found.ok && found.value !== undefined) {
      writeStateFiles(stateDir, found.value);
      return custody.read(stateDir);
    }
    let waiting = found.ok
      ? problem("state_unusable", `the ${kind} ${CLUSTER_SECRET} is not there yet; a gateway makes it`)
      : problemOf(`get ${kind.toLowerCase()}s ${CLUSTER_SECRET}`, found.error);
    if (found.ok && custody.make !== undefined) {
      const joined = await joinWithToken(config, custody, custody.make, client);
      if (joined.ok) {
        log.info("cluster_joined", { cluster: joined.value.cluster, federation: joined.value.federation });
        continue;
      }
      // By another key: a gateway of an earlier release was first, and is about to write it.
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
  config: ProcessConfig,
  { read, reserve, keep, kind }: Custody,
  make: NonNullable<Custody["make"]>,
  client: KubeClient,
): Promise<Result<Membership, Problem>> {
  const { stateDir, joinTokenFile, registry } = config;
  if (joinTokenFile === undefined || registry === undefined) {
    return err(
      problem(
        "config_invalid",
        "this cluster has not joined: set ISTHMUS_JOIN_TOKEN_FILE and ISTHMUS_REGISTRY",
      ),
    );
  }
  const token = readTrimmed(joinTokenFile);
  if (!token.ok) return token;
  // Joined by an earlier attempt that could not keep it: the token is spent, the membership is here.
  const earlier = read(stateDir);
  const reserved = earlier.ok ? undefined : await reserve?.(client, stateDir);
  if (reserved?.ok === false) return reserved;
  const joined = earlier.ok ? earlier : await make({ ...config, registry, token: token.value });
  if (!joined.ok) return joined;
  const kept = await keep(client, stateDir);
  return kept.ok ? joined : err(problemOf(`patch ${kind.toLowerCase()}s ${CLUSTER_SECRET}`, kept.error));
}

/** What the holder of the CA's key asks to be certified: no secret, and there for as long as the cluster is. */
export function readCaRequest({
  caCsrFile = DEFAULT_CSR_FILE,
}: Pick<ProcessConfig, "caCsrFile">): Result<string, Problem> {
  return readTrimmed(caCsrFile);
}

export function readTrimmed(path: string): Result<string, Problem> {
  try {
    return ok(readFileSync(path, "utf8").trim());
  } catch (error) {
    return err(problem("file_unreadable", `${path}: ${(error as Error).message}`));
  }
}

/** Renewed by a gateway, read by everyone: the state directory's own watch does the rest. */
export function followMembership(
  role: SystemRole,
  config: ProcessConfig,
  client: KubeClient,
  log: Logger,
): void {
  const holdsKey = custodyOf(role, config).kind === "Secret";
  createInformer<StateFiles>({
    client,
    types: [holdsKey ? SECRETS : CONFIG_MAPS],
    namespace: SYSTEM_NAMESPACE,
    fieldSelector: `metadata.name=${CLUSTER_SECRET}`,
    clock: systemClock,
    random: systemRandom,
    log,
    digest: holdsKey ? stateFilesOf : publicFilesOf,
    onChange: (_, next) => {
      if (next !== undefined && writeStateFiles(config.stateDir, next)) log.info("membership_updated");
    },
  }).start();
}
