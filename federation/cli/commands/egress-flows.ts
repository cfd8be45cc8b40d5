import type { EgressFlow } from "../../model/egress-flow.ts";
import type { EgressPolicySpec, EgressTarget } from "../../model/egress-policy.ts";
import { API_VERSION, type EgressPolicyResource } from "../../model/resource.ts";

/** Flows of all gateways as one list: the same flow seen by two gateways is one flow. */
export function mergeFlows(lists: readonly (readonly EgressFlow[])[]): readonly EgressFlow[] {
  const merged = new Map<string, EgressFlow>();
  for (const flow of lists.flat()) {
    const key = `${flow.workload} ${flow.host} ${flow.port} ${flow.protocol} ${flow.policy ?? ""}`;
    const known = merged.get(key);
    merged.set(
      key,
      known === undefined
        ? flow
        : {
            ...known,
            count: known.count + flow.count,
            wouldDeny: known.wouldDeny + flow.wouldDeny,
            methods: [...new Set([...known.methods, ...flow.methods])].sort(),
            lastSeen: known.lastSeen > flow.lastSeen ? known.lastSeen : flow.lastSeen,
          },
    );
  }
  return [...merged.values()].sort(compareFlows);
}

function compareFlows(a: EgressFlow, b: EgressFlow): number {
  const [one, other] = [a, b].map(({ workload, host, port }) => `${workload} ${host} ${port}`);
  return (one ?? "") < (other ?? "") ? -1 : 1;
}

/** How a flow was spoken to: what the policy that it went by says, without its sources and destinations. */
type Settings = Pick<EgressPolicySpec, "tls" | "rateLimit" | "timeouts">;

interface Group {
  readonly settings: Settings;
  /** By workload: what it reached, as text that can be compared. */
  readonly byWorkload: Map<string, Map<string, EgressTarget>>;
}

/**
 * The fewest policies that allow exactly what was seen: workloads that reached the same destinations in the same way share
 * one. Nothing is widened: no wildcard, no range, no method that did not occur.
 */
export function writePolicies(
  cluster: string,
  flows: readonly EgressFlow[],
  present: readonly EgressPolicyResource[],
): readonly EgressPolicyResource[] {
  const groups = new Map<string, Group>();
  for (const flow of flows) {
    const policy = present.find(({ metadata }) => metadata.name === flow.policy);
    const settings = flow.port === 0 ? {} : settingsOf(policy);
    const key = JSON.stringify(settings);
    const group: Group = groups.get(key) ?? { settings, byWorkload: new Map() };
    groups.set(key, group);
    const targets = group.byWorkload.get(flow.workload) ?? new Map<string, EgressTarget>();
    group.byWorkload.set(flow.workload, targets);
    addTarget(targets, flow, policy);
  }
  const specs = [...groups.values()].flatMap(policiesOf);
  return specs.map((spec, index) => ({
    apiVersion: API_VERSION,
    kind: "EgressPolicy",
    metadata: { cluster, name: specs.length === 1 ? "seen" : `seen-${index + 1}` },
    spec,
  }));
}

function settingsOf(policy: EgressPolicyResource | undefined): Settings {
  const { tls, rateLimit, timeouts } = policy?.spec ?? {};
  return {
    ...(tls === undefined ? {} : { tls }),
    ...(rateLimit === undefined ? {} : { rateLimit }),
    ...(timeouts === undefined ? {} : { timeouts }),
  };
}

function addTarget(
  targets: Map<string, EgressTarget>,
  flow: EgressFlow,
  policy: EgressPolicyResource | undefined,
): void {
  if (flow.port === 0) {
    const [name = "", namespace = ""] = flow.host.split(".");
    targets.set(flow.host, { service: { namespace, name } });
    return;
  }
  const isAddress = flow.host.includes(":") || /^[0-9.]+$/.test(flow.host);
  const width = flow.host.includes(":") ? 128 : 32;
  // What opened a guarded range for the name must open it again.
  const within = policy?.spec.to.find(
    ({ hostname, cidr }) => hostname !== undefined && cidr !== undefined && fits(hostname, flow.host),
  )?.cidr;
  const place = isAddress
    ? { cidr: `${flow.host}/${width}` }
    : { hostname: flow.host, ...(within === undefined ? {} : { cidr: within }) };
  const spoken =
    flow.protocol === "http"
      ? { protocol: "http" as const, http: { methods: flow.methods } }
      : { protocol: "tcp" as const };
  const key = JSON.stringify([place, spoken]);
  const known = targets.get(key);
  const ports = [...new Set([...(known?.ports ?? []), flow.port])].sort((a, b) => a - b);
  targets.set(key, { ...place, ports, ...spoken });
}

function fits(pattern: string, name: string): boolean {
  return pattern.startsWith("*.") ? name.endsWith(pattern.slice(1)) : pattern === name;
}

function policiesOf({ settings, byWorkload }: Group): readonly EgressPolicySpec[] {
  const specs = new Map<string, { readonly workloads: string[]; readonly to: readonly EgressTarget[] }>();
  for (const [workload, targets] of byWorkload) {
    const to = [...targets.values()].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
    const key = JSON.stringify(to);
    const known = specs.get(key);
    if (known === undefined) specs.set(key, { workloads: [workload], to });
    else known.workloads.push(workload);
  }
  return [...specs.values()].map(({ workloads, to }) => {
    const isExternal = to.some(({ service }) => service === undefined);
    return {
      mode: "enforce",
      from: workloads.sort().map((workload) => ({ workload })),
      to,
      ...(isExternal ? settings : {}),
    };
  });
}
