import type { Logger } from "../../federation/model/log.ts";
import { type Problem, PROBLEMS, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import type { SystemRole } from "../../federation/model/spiffe-id.ts";
import { compilePeerTrust, type Watch } from "../../gateway/dataplane/index.ts";
import type { Discovery, IdentityIssuer, Membership } from "../../gateway/discovery/index.ts";
import { systemClock, systemRandom } from "../../gateway/process/clock.ts";
import type { ProcessConfig } from "../../gateway/process/config.ts";
import type { Prepared } from "../../gateway/process/member.ts";
import type { CapturedPort } from "../capture/rules.ts";
import { createIssuerClient } from "../identity/issuer-client.ts";
import { createKubeClient, type KubeClient } from "./api/client.ts";
import { problemOf } from "./api/failure.ts";
import { asKubeObject, type OwnerReference } from "./api/object.ts";
import { apiVersionOf, CLUSTER_ROLES, ENDPOINT_SLICES, pathOf } from "./api/resource-type.ts";
import { findKubeAccess } from "./config.ts";
import { digestSlice, sliceEndpoints } from "./digest/endpoint-slice.ts";
import { fieldsOf, list } from "./digest/fields.ts";
import { ISSUER_SERVICE, SYSTEM_NAMESPACE } from "./labels.ts";
import type { MeshView } from "./mesh-view.ts";
import { followMembership, obtainMembership, readCaRequest, readTrimmed } from "./obtain-membership.ts";
import { followSecrets } from "./secrets.ts";
import { createExternalCa, serveIdentities } from "./serve-identities.ts";
import { serveNames } from "./serve-names.ts";
import { KubernetesSource } from "./source.ts";

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
  followMembership(role, config, client, log);
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
  const external = config.caIssuer && createExternalCa(config.caIssuer, config, state.value, client, log);
  const serve = (discovery: Discovery) =>
    serveIdentities({ config, client, source: servicesSource, discovery, external, log });
  if (external === undefined) return ok({ ...common, secrets, serve });
  return ok({ ...common, secrets, serve, issuer: external.issuer, caRequest: () => readCaRequest(config) });
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
    token: () => readTrimmed(identityTokenFile),
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
      return ok(
        slices.flatMap((slice) => sliceEndpoints(slice, ISSUER_SERVICE.port)).map(({ address }) => address),
      );
    }
    failure ??= problemOf(`list ${type.plural}`, answer.error);
    if (answer.error.kind !== "not_found") break;
  }
  return err(failure ?? problem("kube_unreachable", "list endpointslices"));
}
