import { PROBLEMS } from "../../model/problem.ts";
import {
  type ClusterStatus,
  type MemberStatus,
  type Resource,
  type ServiceExportResource,
  type ServiceImportResource,
  sourceClusters,
  type WithStatus,
} from "../../model/resource.ts";
import { serviceKey, type ServiceName } from "../../model/service.ts";
import { workloadSpiffeId } from "../../model/spiffe-id.ts";
import { matchWorkload } from "../../model/workload-pattern.ts";
import { isFresh } from "../check/cluster-checks.ts";
import { importedService } from "../input/file-index.ts";
import { type Probe, planProbes } from "../check/probes.ts";
import { type CheckResult, passed } from "../check/result.ts";

/** A workload that calls, and the local name of what it calls. */
export interface Question {
  readonly cluster: string;
  readonly namespace: string;
  readonly account: string;
  readonly service: ServiceName;
}

export interface Known {
  readonly clusters: readonly ClusterStatus[];
  readonly resources: readonly WithStatus<Resource>[];
  readonly now: number;
}

/** Every step of the way that could be looked at, the first one that fails last; `probe`: what is left is to try it. */
export interface Way {
  readonly steps: readonly CheckResult[];
  readonly probe: Probe | undefined;
}

type Step = CheckResult | undefined;

/** Why can this workload not reach that service? In the order in which a request meets the causes. */
export function explainWay(question: Question, known: Known): Way {
  const steps: CheckResult[] = [];
  const add = (step: Step): boolean => {
    if (step !== undefined) steps.push(step);
    return step?.status !== "failed";
  };
  const { cluster, service } = question;
  const imported = findImport(question, known);
  const checks: (() => readonly Step[])[] = [
    () => [joined(cluster, known), carrier(question, known)],
    () => [importStep(question, imported)],
    () => (imported === undefined ? [] : ownersOf(question, imported, known)),
    () => (imported === undefined ? [] : tunnels(question, imported, known)),
    () => [address(question, known)],
  ];
  for (const check of checks) {
    for (const step of check()) if (!add(step)) return { steps, probe: undefined };
  }
  const probe = planProbes(known.clusters, known.now).find(
    (one) =>
      one.cluster === cluster && one.workload === nameOf(question) && one.service === serviceKey(service),
  );
  return { steps, probe };
}

/** `ns/shop/sa/web` */
function nameOf({ namespace, account }: Question): string {
  return `ns/${namespace}/sa/${account}`;
}

function joined(cluster: string, { clusters }: Known): CheckResult {
  const name = `cluster ${cluster} has joined`;
  const found = clusters.find((one) => one.name === cluster);
  if (found?.state === "joined") return passed("the way", name);
  const detail = found === undefined ? "no cluster of that name is registered" : "it is registered only";
  return failed(name, detail, PROBLEMS.not_found.code, `isthmus cluster register ${cluster}`);
}

/** Who carries the workload's traffic: an agent, or the gateway where there is none. */
function carrier({ cluster }: Question, { clusters, now }: Known): CheckResult {
  const members = clusters.find((one) => one.name === cluster)?.members ?? [];
  const fresh = members.filter((member) => isFresh(member, now));
  const name = `a gateway or agent of ${cluster} reports`;
  if (fresh.length === 0)
    return failed(
      name,
      "none has for half a minute",
      PROBLEMS.gateway_unreachable.code,
      "start one: isthmus gateway",
    );
  const refusing = fresh.find(({ state }) => state === "refused");
  if (refusing === undefined) return passed("the way", name, fresh.map(({ member }) => member).join(", "));
  const code = refusing.code ?? PROBLEMS.snapshot_missing.code;
  return failed(
    `${refusing.member} applies what the registry says`,
    "it refused its snapshot",
    code,
    `isthmus explain ${code}`,
  );
}

function findImport({ cluster, service }: Question, { resources }: Known) {
  return resources.find(
    (one): one is WithStatus<ServiceImportResource> =>
      one.kind === "ServiceImport" &&
      one.metadata.cluster === cluster &&
      serviceKey(one.metadata) === serviceKey(service),
  );
}

function importStep({ cluster, service }: Question, found: ServiceImportResource | undefined): CheckResult {
  const key = serviceKey(service);
  const name = `${cluster} imports ${key}`;
  if (found !== undefined) return passed("the way", name, `from ${sourceClusters(found).join(", ")}`);
  const fix = `isthmus service import ${key} --cluster ${cluster} --from <owner>`;
  return failed(name, "it does not", PROBLEMS.not_imported.code, fix);
}

/** Each owner is a way of its own: one that works is enough, and if none does, the first one's reason is told. */
function ownersOf(question: Question, imported: ServiceImportResource, known: Known): readonly CheckResult[] {
  const all = sourceClusters(imported).map((owner) =>
    owner === question.cluster ? [] : ownerSteps(question, imported, owner, known),
  );
  return all.find((steps) => steps.every(({ status }) => status !== "failed")) ?? all[0] ?? [];
}

function ownerSteps(
  question: Question,
  imported: ServiceImportResource,
  owner: string,
  known: Known,
): readonly CheckResult[] {
  const key = serviceKey(importedService(imported));
  const offer = known.resources.find(
    (one): one is WithStatus<ServiceExportResource> =>
      one.kind === "ServiceExport" && one.metadata.cluster === owner && serviceKey(one.metadata) === key,
  );
  const share = `isthmus service export ${key} --cluster ${owner} --to ${question.cluster}`;
  const name = `${owner} exports ${key} to ${question.cluster}`;
  if (offer === undefined) return [failed(name, "it does not export it", PROBLEMS.not_exported.code, share)];
  const consumer = offer.spec.consumers.find(({ cluster }) => cluster === question.cluster);
  if (consumer === undefined) {
    const others = offer.spec.consumers.map(({ cluster }) => cluster).join(", ");
    return [failed(name, `only to ${others || "nobody"}`, PROBLEMS.not_exported.code, share)];
  }
  const permitted = `${owner} permits ${nameOf(question)}`;
  const workloads = consumer.workloads ?? ["*"];
  if (!permits(workloads, question, known))
    return [
      passed("the way", name),
      failed(
        permitted,
        `only ${workloads.join(", ")}`,
        PROBLEMS.export_denied.code,
        `${share} --workload ${nameOf(question)}`,
      ),
    ];
  return [
    passed("the way", name),
    passed("the way", permitted),
    joined(owner, known),
    carrier({ ...question, cluster: owner }, known),
  ];
}

function permits(
  workloads: readonly string[],
  { cluster, namespace, account }: Question,
  { clusters }: Known,
) {
  const trustDomain = clusters.find((one) => one.name === cluster)?.trustDomain;
  if (trustDomain === undefined) return false;
  const id = workloadSpiffeId(trustDomain, namespace, account);
  return workloads.some((pattern) => matchWorkload(pattern, id));
}

/** Agents reach their own cluster's gateways, gateways those of the owner. */
function tunnels(
  { cluster }: Question,
  imported: ServiceImportResource,
  { clusters, now }: Known,
): readonly CheckResult[] {
  const members = (clusters.find((one) => one.name === cluster)?.members ?? []).filter((one) =>
    isFresh(one, now),
  );
  const hasAgents = members.some(({ role }) => role === "agent");
  const owners = sourceClusters(imported).filter((owner) => owner !== cluster);
  const gateways = members.filter(({ role }) => role === "gateway");
  const steps = hasAgents
    ? [
        tunnelStep(
          members.filter(({ role }) => role === "agent"),
          [cluster],
        ),
      ]
    : [];
  return owners.length === 0 || gateways.length === 0 ? steps : [...steps, tunnelStep(gateways, owners)];
}

function tunnelStep(members: readonly MemberStatus[], towards: readonly string[]): CheckResult {
  const who = members.map(({ member }) => member).join(", ");
  const name = `${who} ${members.length === 1 ? "has" : "have"} a tunnel to ${towards.join(" or ")}`;
  const all = members
    .flatMap((member) => member.tunnels)
    .filter((tunnel) => towards.includes(tunnel.cluster));
  const up = all.filter(({ state }) => state === "up").length;
  if (up > 0) return passed("the way", name, `${up} of ${all.length} up`);
  const [first] = all;
  const detail = first === undefined ? "it keeps none" : `${first.address} is ${first.state}`;
  const code = first?.code ?? PROBLEMS.gateway_unreachable.code;
  return failed(name, detail, code, `isthmus explain ${code}`);
}

function address(question: Question, { clusters }: Known): CheckResult {
  const key = serviceKey(question.service);
  const name = `${nameOf(question)} has an address for ${key}`;
  const listener = (clusters.find((one) => one.name === question.cluster)?.members ?? [])
    .flatMap((member) => member.listeners)
    .find((one) => one.workload === nameOf(question) && one.service === key);
  if (listener !== undefined)
    return passed("the way", name, `${listener.address}, ${listener.protocol?.why ?? ""}`.replace(/, $/, ""));
  return failed(
    name,
    `no member of ${question.cluster} listens for it`,
    PROBLEMS.not_imported.code,
    `write the workload into the services file of ${question.cluster}`,
  );
}

function failed(name: string, detail: string, code: string, fix: string): CheckResult {
  return { category: "the way", name, status: "failed", detail, code, fix };
}
