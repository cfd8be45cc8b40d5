// Longer than other files: one row of work for every permission that the manifest asks for.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTokenReviewer } from "../../agents/identity/token-review.ts";
import { createKubeClient, type KubeClient } from "../../agents/kubernetes/api/client.ts";
import { problemOf } from "../../agents/kubernetes/api/failure.ts";
import type { KubeObject } from "../../agents/kubernetes/api/object.ts";
import {
  CLUSTER_ROLES,
  ENDPOINT_SLICES,
  LEASES,
  NAMESPACES,
  pathOf,
  PODS,
  type ResourceType,
  SECRETS,
  SERVICE_EXPORTS,
  SERVICE_IMPORTS,
  SERVICES,
  TRAFFIC_TARGETS,
} from "../../agents/kubernetes/api/resource-type.ts";
import { writeClusterConfig, writeClusterSecret } from "../../agents/kubernetes/cluster-secret.ts";
import { Controller } from "../../agents/kubernetes/controller.ts";
import { createLeader, type Leader } from "../../agents/kubernetes/leader.ts";
import { findInstallation } from "../../agents/kubernetes/member.ts";
import { followSecrets } from "../../agents/kubernetes/secrets.ts";
import { KubernetesSource } from "../../agents/kubernetes/source.ts";
import type { SnapshotOffer } from "../../federation/model/snapshot.ts";
import { parseTrustDomain } from "../../federation/model/spiffe-id.ts";
import { createWatch } from "../../gateway/dataplane/lifecycle/watch.ts";
import { joinCluster } from "../../gateway/discovery/index.ts";
import { systemClock } from "../../gateway/process/clock.ts";
import { type KubeFaults, startKubeFaults } from "../fakes/kube-api/fault-proxy.ts";
import { KUBE_APISERVER } from "../fakes/kube-api/real.ts";
import { fakeRegistry, HASTY, offerOf, snapshotOf } from "../fakes/kube-controller.ts";
import {
  type MemberProcess,
  registerCluster,
  type Role,
  startMember,
  writeKubeconfig,
} from "../fakes/kube-members.ts";
import { accessAs, type KubeApi, startKubeApi, until } from "../fakes/kube-world.ts";
import { createMemoryLog } from "../fakes/memory-log.ts";
import { unwrap } from "../fakes/pki.ts";
import { type RegistryProcess, startRegistryProcess } from "../fakes/registry-process.ts";
import { namespace, pod, service, serviceExport, slice } from "./objects.ts";

const reason =
  KUBE_APISERVER === undefined ? "the double knows no roles: KUBE_APISERVER names a real one" : undefined;
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const [SLICES] = ENDPOINT_SLICES;
const [EXPORTS] = SERVICE_EXPORTS;
const [IMPORTS] = SERVICE_IMPORTS;
const ROLES: ResourceType = { ...CLUSTER_ROLES, plural: "roles", kind: "Role", namespaced: true };
const foreign = (group: string, version: string, plural: string, kind: string): ResourceType => ({
  group,
  version,
  plural,
  kind,
  namespaced: true,
});

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

/** One verb on one resource, as some role of ours allows it. */
interface Permission {
  readonly role: string;
  readonly namespace?: string;
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
}

/** What no scene here can make an API server ask for, and who asks. */
const UNSEEN = new Map([
  [
    "isthmus-controller create endpointslices/restricted",
    "OpenShift's admission of slices that name addresses",
  ],
  ["isthmus-gateway get pods", "API servers before 1.30, whose tokens do not name the node"],
]);

let api: KubeApi;
let faults: KubeFaults;
let registry: RegistryProcess;
let directory: string;
const log = createMemoryLog();
const clients: KubeClient[] = [];
const stops: (() => void | Promise<void>)[] = [];
let controller: Controller;
let leader: Leader;
const offers = new Map<string, SnapshotOffer>();
const snapshot = createWatch<ReturnType<typeof snapshotOf> | undefined>(snapshotOf(1, []));
let revision = 1;
let processes = 0;

const publish = (): void => snapshot.publish(snapshotOf(++revision, [...offers.values()]));
const sources: Partial<Record<string, KubernetesSource>> = {};

async function clientOf(account: string): Promise<KubeClient> {
  const client = createKubeClient(faults.through(await accessAs(api, account)));
  clients.push(client);
  return client;
}

beforeAll(async () => {
  if (reason !== undefined) return;
  directory = mkdtempSync(join(tmpdir(), "isthmus-roles-"));
  registry = await startRegistryProcess(join(directory, "registry"));
  api = await startKubeApi({ admission: ["OwnerReferencesPermissionEnforcement"] });
  const agents = join(ROOT, "infra/kubernetes/overlays/agents");
  const args = ["--kubeconfig", api.real?.kubeconfig ?? "", "apply", "--validate=strict", "-k", agents];
  const done = spawnSync("kubectl", args, { encoding: "utf8" });
  if (done.status !== 0) throw new Error(done.stderr);
  faults = await startKubeFaults(api.access);
  await api.put(NAMESPACES, namespace("shop"));
  const ports = [{ name: "tunnel", port: 15008 }];
  await api.put(SERVICES, service("isthmus-gateway", { namespace: "isthmus-system", ports }));
  const gateways = { namespace: "isthmus-system", ports, addresses: ["10.9.0.1"] };
  await api.put(SLICES, slice("isthmus-gateway", gateways));
  await api.put(SERVICES, service("stable"));
  await endpoints(1);
  await api.put(EXPORTS, serviceExport("stable"));
  // From the first one on the pods of all namespaces are followed.
  await target("first");
  const common = { clock: HASTY, random: () => 0.5, log };
  const asController = await clientOf("controller");
  controller = new Controller({
    ...common,
    client: asController,
    ...(await findInstallation(asController, log)),
    cluster: "west",
    snapshot,
    registry: fakeRegistry(),
    leading: createWatch(true),
  });
  leader = createLeader({
    ...common,
    client: asController,
    namespace: "isthmus-system",
    name: "isthmus-controller",
    identity: "one",
  });
  const trustDomain = unwrap(parseTrustDomain("west.demo.mesh"));
  const asGateway = await clientOf("gateway");
  const gateway = new KubernetesSource({ ...common, client: asGateway, trustDomain, role: "gateway" });
  const asAgent = await clientOf("agent");
  const agent = new KubernetesSource({ ...common, client: asAgent, trustDomain, role: "agent", node: "a" });
  Object.assign(sources, { gateway, agent });
  const secrets = followSecrets({ ...common, client: asGateway });
  stops.push(
    () => controller.stop(),
    () => leader.stop(),
    () => gateway.stop(),
    () => agent.stop(),
    () => secrets.stop(),
  );
  for (const each of [controller, leader, gateway, agent]) each.start();
  await until("the controller works", 20_000, () => imported("stable"));
  await until("the others know", 20_000, () => (gateway.known && agent.known ? true : undefined));
  await member();
}, 240_000);

afterAll(async () => {
  if (reason !== undefined) return;
  for (const stop of stops) await stop();
  for (const client of clients) client.close();
  await faults?.close();
  await api?.close();
  await registry?.end("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

/** Of which an Event tells. */
async function target(name: string): Promise<void> {
  const account = { kind: "ServiceAccount", name: "web", namespace: "shop" };
  await api.put(TRAFFIC_TARGETS, {
    metadata: { namespace: "shop", name },
    spec: { destination: account, sources: [account], rules: [] },
  });
}

async function endpoints(last: number): Promise<void> {
  const addresses = Array.from({ length: last }, (_, index) => `10.8.0.${index + 1}`);
  await api.put(SLICES, slice("stable", { ports: [{ name: "http", port: 8080 }], addresses }));
}

async function imported(name: string): Promise<true | undefined> {
  return (await api.get(IMPORTS, "shop", name)) === undefined ? undefined : true;
}

/** A membership, as the cluster's first gateway writes it. */
const stateDir = (): string => join(directory, "state");
async function member(): Promise<void> {
  const token = await registerCluster(registry, "west");
  unwrap(await joinCluster({ registryUrl: registry.url, token, stateDir: stateDir(), clock: systemClock }));
  unwrap(await writeClusterConfig(api.client, stateDir()));
  unwrap(await writeClusterSecret(api.client, stateDir()));
}

/** All roles of ours and what they allow. */
async function permissions(): Promise<readonly Permission[]> {
  const roles = [
    ...(await api.list(CLUSTER_ROLES)),
    ...(await api.list(ROLES, "isthmus-system")),
    ...(await api.list(ROLES, "isthmus-egress")),
  ];
  return roles
    .filter(({ metadata }) => metadata.labels?.["app.kubernetes.io/part-of"] === "isthmus")
    .flatMap(({ metadata, ...role }) =>
      (role["rules"] as readonly Rule[]).flatMap(({ apiGroups: [group = ""], resources, verbs }) =>
        resources.flatMap((resource) =>
          verbs.map((verb) => ({
            role: metadata.name,
            ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
            verb,
            group,
            resource,
          })),
        ),
      ),
    );
}

const textOf = ({ role, namespace: space, verb, group, resource }: Permission): string =>
  `${role}${space === undefined ? "" : ` in ${space}`} ${verb} ${resource}${group === "" ? "" : `.${group}`}`;

/** Takes it out of its role; answers how to give it back. */
async function take({
  role,
  namespace: space,
  verb,
  group,
  resource,
}: Permission): Promise<() => Promise<void>> {
  const type = space === undefined ? CLUSTER_ROLES : ROLES;
  const at = space === undefined ? { name: role } : { namespace: space, name: role };
  const before = (await api.get(type, space, role)) as KubeObject & { readonly rules: readonly Rule[] };
  const rules = before.rules.flatMap((rule) => {
    if (!rule.apiGroups.includes(group) || !rule.resources.includes(resource)) return [rule];
    const others = rule.resources.filter((each) => each !== resource);
    const verbs = rule.verbs.filter((each) => each !== verb);
    return [
      ...(others.length === 0 ? [] : [{ ...rule, resources: others }]),
      ...(verbs.length === 0 ? [] : [{ ...rule, resources: [resource], verbs }]),
    ];
  });
  const write = async (wanted: readonly Rule[]): Promise<void> => {
    const body = { op: "replace", path: "/rules", value: wanted };
    const contentType = "application/json-patch+json";
    unwrap(await api.client.request({ method: "PATCH", path: pathOf(type, at), body: [body], contentType }));
  };
  await write(rules);
  return () => write(before.rules);
}

/** Whether one of these lines says which verb is missing on what, in which group. */
function isNamed(
  lines: readonly { readonly [field: string]: unknown }[],
  { verb, resource, group }: Permission,
): boolean {
  const plural = resource.replace("*", "[a-z]+");
  const named = new RegExp(
    verb === "update" && resource.endsWith("/finalizers")
      ? "resource you can't set finalizers on"
      : `cannot ${verb} resource "${plural}" in API group "${group.replaceAll(".", "\\.")}"`,
  );
  return lines.some(({ code, detail, line }) =>
    // What ends a process is told in words for people, not as an entry of its log.
    code === "ISTH-6503" ? typeof detail === "string" && named.test(detail) : named.test(String(line)),
  );
}

/** What makes our processes need the permission, other than what they do by themselves. */
async function poke({ verb, resource, role }: Permission, round: number): Promise<void> {
  const name = `n${round}`;
  const at = { namespace: "shop", name };
  const parentRefs = [{ group: "", kind: "Service", name: "stable", port: 80 }];
  switch (verb) {
    case "list":
      return faults.expire();
    case "watch":
      return faults.cut();
    case "get":
    case "update":
      if (resource !== "serviceimports/finalizers") return;
      offers.set(name, offerOf("shop", name, "east"));
      return publish();
    case "create":
      if (resource === "events") return target(name);
      if (resource === "leases") return api.remove(LEASES, "isthmus-system", "isthmus-controller");
      offers.set(name, offerOf("shop", name, "east"));
      return publish();
    case "delete":
      offers.delete("standing");
      return publish();
    case "patch":
      if (resource === "events") return target(name);
      if (resource === "*/status")
        return void (await api.put(foreign("isthmus.dev", "v1alpha1", "trafficroutes", "TrafficRoute"), {
          metadata: at,
          spec: { parentRefs, rules: [{ backendRefs: [{ name: "stable", port: 80 }] }] },
        }));
      if (resource === "httproutes/status" || resource === "grpcroutes/status") {
        const [plural = "", kind = ""] =
          resource === "httproutes/status" ? ["httproutes", "HTTPRoute"] : ["grpcroutes", "GRPCRoute"];
        const rules = [{ backendRefs: [{ name: "stable", port: 80 }] }];
        return void (await api.put(foreign("gateway.networking.k8s.io", "v1", plural, kind), {
          metadata: at,
          spec: { parentRefs, rules },
        }));
      }
      if (resource === "serviceexports/status") {
        await api.put(SERVICES, service(name));
        return void (await api.put(EXPORTS, serviceExport(name)));
      }
      offers.set(name, offerOf("shop", name, "east"));
      return publish();
    default:
      throw new Error(`${role}: nothing here needs ${verb} ${resource}`);
  }
}

/** Something else that has to go on meanwhile. */
async function restWorks({ role, resource, verb }: Permission, round: number): Promise<void> {
  const isWrite = verb === "create" || verb === "patch" || verb === "delete" || verb === "update";
  if (role !== "isthmus-controller") {
    // Who may not see one kind goes on with what it knows of it, and with the others.
    const source = sources[role.replace("isthmus-", "")];
    expect(source?.known).toBe(true);
    if (resource === "pods") return;
    const address = `10.244.${Math.floor(round / 200)}.${round % 200}`;
    await api.put(PODS, {
      ...pod(`p${round}`, "web", address),
      spec: { serviceAccountName: "web", nodeName: "a", containers: [{ name: "main", image: "app" }] },
    });
    await until("a new pod is known", 10_000, () => source?.pods.callerOf(address));
    return;
  }
  if (
    resource.startsWith("serviceimports") ||
    (resource === "endpointslices" && !isWrite) ||
    resource === "services"
  ) {
    if (resource === "services" && !isWrite)
      return void (await until("it still imports", 15_000, () => another(round)));
    if (resource === "endpointslices")
      return void (await until("it still imports", 15_000, () => another(round)));
    const wanted = 2 + (round % 7);
    await endpoints(wanted);
    await until("an endpoint is mirrored", 15_000, async () => {
      const slices = await api.list(SLICES, "shop");
      const ours = slices.find(
        ({ metadata }) => metadata.labels?.["multicluster.kubernetes.io/service-name"] === "stable",
      );
      return (ours?.["endpoints"] as readonly unknown[] | undefined)?.length === wanted ? true : undefined;
    });
    return;
  }
  await until("it still imports", 15_000, () => another(round));
}

async function another(round: number): Promise<true | undefined> {
  const name = `other${round}`;
  if (!offers.has(name)) {
    offers.set(name, offerOf("shop", name, "east"));
    publish();
  }
  return imported(name);
}

function problems(): string {
  return [
    ...controller.problems(),
    ...(leader.problem === undefined ? [] : [leader.problem]),
    ...Object.values(sources).flatMap((source) => source?.problems() ?? []),
  ]
    .map(({ detail }) => detail)
    .join("; ");
}

/** Of what only a process does while it starts, or once a year. */
const AT_START = new Set(["configmaps", "secrets", "clusterroles", "tokenreviews"]);
const isAtStart = ({ resource, namespace: space }: Permission): boolean =>
  AT_START.has(resource) && space !== "isthmus-egress";

async function startsWithout(permission: Permission): Promise<void> {
  const since = log.lines.length;
  const { verb, resource, role } = permission;
  const account = role.replace("isthmus-", "") as Role;
  const client = await clientOf(account);
  if (resource === "secrets" && verb === "patch") {
    // The key of the CA is renewed once a year.
    const written = await writeClusterSecret(client, stateDir());
    if (!written.ok) log.warn("membership_not_written", { code: "ISTH-6503", detail: written.error.message });
  } else if (resource === "tokenreviews") {
    const reviewed = await createTokenReviewer(client, systemClock).review("a token");
    if (!reviewed.ok)
      log.warn("token_review_failed", { code: "ISTH-6503", detail: problemOf("", reviewed.error).detail });
  } else {
    if (resource === "secrets" && verb === "create")
      await api.remove(SECRETS, "isthmus-system", "isthmus-cluster");
    if (resource === "configmaps" && verb === "create")
      await api.remove(
        { ...SECRETS, plural: "configmaps", kind: "ConfigMap" },
        "isthmus-system",
        "isthmus-cluster",
      );
    const { child, log: lines } = await startProcess(account);
    await until(`a ${account} says that it lacks ${textOf(permission)}`, 20_000, () =>
      isNamed(lines, permission) ? true : undefined,
    ).finally(() => child.kill("SIGKILL"));
    return;
  }
  expect(isNamed(log.lines.slice(since), permission), textOf(permission)).toBe(true);
}

async function startProcess(account: Role): Promise<MemberProcess> {
  const name = `${account}-${processes++}`;
  const tokenFile = join(directory, `${name}.token`);
  writeFileSync(tokenFile, await registerCluster(registry, name));
  return startMember(account, {
    ISTHMUS_KUBERNETES: writeKubeconfig(join(directory, name), faults.through(await accessAs(api, account))),
    ISTHMUS_STATE_DIR: join(directory, `${name}-state`),
    ISTHMUS_MEMBER: name,
    ISTHMUS_REGISTRY: registry.url,
    ...(account === "gateway"
      ? { ISTHMUS_JOIN_TOKEN_FILE: tokenFile, ISTHMUS_ISSUER_LISTEN: "127.0.0.1:0" }
      : { ISTHMUS_NODE: "a" }),
  });
}

describe.skipIf(reason !== undefined)(
  `roles that lack one verb${reason === undefined ? "" : ` (${reason})`}`,
  () => {
    it("say which verb on which resource of which group, for every verb of the manifest, and the rest goes on", {
      timeout: 900_000,
    }, async () => {
      const all = await permissions();
      expect(all.length).toBeGreaterThan(50);
      const failed: string[] = [];
      for (const [round, permission] of all.entries()) {
        const text = textOf(permission);
        if (
          [...UNSEEN.keys()].some(
            (each) => `${permission.role} ${permission.verb} ${permission.resource}` === each,
          )
        )
          continue;
        offers.set("standing", offerOf("shop", "standing", "east"));
        publish();
        await until("all is well before", 15_000, () => imported("standing"));
        const giveBack = await take(permission);
        try {
          const since = log.lines.length;
          if (isAtStart(permission)) {
            await startsWithout(permission);
            continue;
          }
          await poke(permission, round);
          await until(`the lack of ${text} is named`, 15_000, () =>
            isNamed(log.lines.slice(since), permission) ? true : undefined,
          );
          await restWorks(permission, round);
        } catch (error) {
          failed.push(`${text}: ${(error as Error).message.split("\n")[0]}`);
        } finally {
          await giveBack();
          await until("all is well again", 15_000, () => (problems() === "" ? true : undefined)).catch(() =>
            failed.push(`${text}: does not recover: ${problems()}`),
          );
        }
      }
      // A verb that nobody misses is one too many.
      expect(failed).toEqual([]);
    });
  },
);
