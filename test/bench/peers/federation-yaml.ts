/** As many as a workload may have, and as a cluster's members may report. */
const WORKLOAD_SERVICES = 250;
const CLUSTER_SERVICES = 5_000;

/**
 * Clusters: `east` with services by their backend's port, which west's web may call. Where there are thousands, they belong to several
 * workloads, and to `east-2` from the 5,001st on. Other documents may follow.
 */
export function federationYaml(agents: boolean, services: Readonly<Record<string, number>>): string {
  const owners = chunksOf(Object.entries(services), CLUSTER_SERVICES).map((own, at) => ({
    cluster: at === 0 ? "east" : `east-${at + 1}`,
    own,
  }));
  return `apiVersion: isthmus.dev/v1alpha1
kind: LocalFederation
metadata: { name: bench.mesh }
spec:
  registry: { listen: "127.0.0.1:0" }
  clusters:
${owners.map(({ cluster, own }) => ownerYaml(cluster, agents, own)).join("")}    - name: west
      agents: ${agents}
      workloads: [{ namespace: shop, name: web }]
${owners.flatMap(({ cluster, own }) => own.map(([name]) => sharedYaml(cluster, name))).join("")}`;
}

type Entries = readonly (readonly [name: string, port: number])[];

function chunksOf(entries: Entries, size: number): readonly Entries[] {
  return Array.from({ length: Math.ceil(entries.length / size) }, (_, at) =>
    entries.slice(at * size, (at + 1) * size),
  );
}

function ownerYaml(cluster: string, agents: boolean, services: Entries): string {
  const workloads = chunksOf(services, WORKLOAD_SERVICES).map(
    (own, at) => `        - namespace: shop
          name: cart-${at + 1}
          services:
${own.map(([name, port]) => `            - { name: ${name}, port: 80, protocol: http, endpoints: ["127.0.0.1:${port}"] }`).join("\n")}
`,
  );
  return `    - name: ${cluster}
      agents: ${agents}
      workloads:
${workloads.join("")}`;
}

/** A service exported to one workload and imported by its cluster. */
function sharedYaml(cluster: string, name: string): string {
  return `---
apiVersion: isthmus.dev/v1alpha1
kind: ServiceExport
metadata: { cluster: ${cluster}, namespace: shop, name: ${name} }
spec: { consumers: [{ cluster: west, workloads: ["ns/shop/sa/web"] }] }
---
apiVersion: isthmus.dev/v1alpha1
kind: ServiceImport
metadata: { cluster: west, namespace: shop, name: ${name} }
spec: { from: { cluster: ${cluster} } }
`;
}
