/**
 * Two clusters: services of one workload of east by their backend's port, which west's web may call. Other documents may follow.
 */
export function federationYaml(agents: boolean, services: Readonly<Record<string, number>>): string {
  const lines = Object.entries(services).map(
    ([name, port]) =>
      `            - { name: ${name}, port: 80, protocol: http, endpoints: ["127.0.0.1:${port}"] }`,
  );
  return `apiVersion: isthmus.dev/v1alpha1
kind: LocalFederation
metadata: { name: bench.mesh }
spec:
  registry: { listen: "127.0.0.1:0" }
  clusters:
    - name: east
      agents: ${agents}
      workloads:
        - namespace: shop
          name: cart
          services:
${lines.join("\n")}
    - name: west
      agents: ${agents}
      workloads: [{ namespace: shop, name: web }]
${Object.keys(services).map(sharedYaml).join("")}`;
}

/** A service exported to one workload and imported by its cluster. */
function sharedYaml(name: string): string {
  return `---
apiVersion: isthmus.dev/v1alpha1
kind: ServiceExport
metadata: { cluster: east, namespace: shop, name: ${name} }
spec: { consumers: [{ cluster: west, workloads: ["ns/shop/sa/web"] }] }
---
apiVersion: isthmus.dev/v1alpha1
kind: ServiceImport
metadata: { cluster: west, namespace: shop, name: ${name} }
spec: { from: { cluster: east } }
`;
}
