import { describe, expect, it } from "vitest";
import { readFederation } from "./federation-file.ts";
import { inOrder, renderMistake } from "./mistake.ts";

const FEDERATION = `apiVersion: isthmus.dev/v1alpha1
kind: LocalFederation
metadata: { name: demo.mesh }
spec:
  clusters:
    - name: east
      workloads:
        - namespace: shop
          name: cart
          services: [{ name: cart, port: 80, protocol: http, endpoints: ["127.0.0.1:9003"] }]
    - name: west
      workloads: [{ namespace: shop, name: web }, { namespace: shop, name: batch }]
`;

const EXPORT = `---
apiVersion: isthmus.dev/v1alpha1
kind: ServiceExport
metadata: { cluster: east, namespace: shop, name: cart }
spec: { consumers: [{ cluster: west, workloads: ["ns/shop/sa/web"] }] }
`;

const IMPORT = `---
apiVersion: isthmus.dev/v1alpha1
kind: ServiceImport
metadata: { cluster: west, namespace: shop, name: cart }
spec: { from: { cluster: east } }
`;

function complaints(text: string): string[] {
  return inOrder(readFederation("f.yaml", text).mistakes).map(renderMistake);
}

function warnings(text: string): string[] {
  return readFederation("f.yaml", text).warnings.map(renderMistake);
}

describe("reading a federation file", () => {
  it("takes the documents in any order and fills in the defaults", () => {
    const read = readFederation("f.yaml", `${EXPORT.slice(4)}${IMPORT}---\n${FEDERATION}`);
    expect(read.mistakes).toEqual([]);
    expect(read.warnings).toEqual([]);
    expect(read.content?.federation.spec.clusters[0]).toMatchObject({ agents: true, gateways: 1 });
    expect(read.content?.resources.map((resource) => resource.kind)).toEqual([
      "ServiceExport",
      "ServiceImport",
    ]);
  });

  it("reports the mistakes of all documents at once, with their places", () => {
    const text = `${FEDERATION.replace("clusters:", "clusterz:")}${EXPORT.replace("consumers", "consumer")}`;
    expect(complaints(text)).toEqual([
      "f.yaml:4:1 spec.clusters is required",
      'f.yaml:5:3 spec.clusterz unknown field "clusterz" (did you mean "clusters"?)',
      "f.yaml:17:1 spec.consumers is required",
      'f.yaml:17:9 spec.consumer unknown field "consumer" (did you mean "consumers"?)',
    ]);
  });

  it("refuses an export of a service that does not exist, and names the one that was meant", () => {
    expect(complaints(FEDERATION + EXPORT.replace("name: cart", "name: carts"))).toEqual([
      'f.yaml:16:45 metadata.name cluster east has no service carts.shop (did you mean "cart.shop"?)',
    ]);
  });

  it("refuses names of clusters that the file does not have, wherever they stand", () => {
    const text =
      FEDERATION +
      EXPORT.replace("cluster: west", "cluster: wset") +
      IMPORT.replace("{ cluster: east }", "{ cluster: eats }").replace("cluster: west", "cluster: north");
    expect(complaints(text)).toEqual([
      'f.yaml:17:23 spec.consumers[0].cluster there is no cluster wset in this file (did you mean "west"?)',
      "f.yaml:21:13 metadata.cluster there is no cluster north in this file",
      'f.yaml:22:17 spec.from.cluster there is no cluster eats in this file (did you mean "east"?)',
    ]);
  });

  it("refuses two clusters of one name", () => {
    expect(complaints(FEDERATION.replace("name: west", "name: east"))).toEqual([
      expect.stringMatching(/^f\.yaml:11:\d+ spec\.clusters\[1\] duplicate cluster "east"/),
    ]);
  });

  it("refuses the same object twice and a second LocalFederation", () => {
    expect(complaints(`${FEDERATION}${EXPORT}${EXPORT}---\n${FEDERATION}`)).toEqual([
      "f.yaml:21:1 metadata serviceexport/east/shop/cart is given twice",
      "f.yaml:25:1 kind there is a LocalFederation already",
    ]);
  });

  it("says that the LocalFederation is missing", () => {
    expect(complaints(EXPORT)).toEqual([
      "f.yaml:1:1 one document must be a LocalFederation: it names the clusters to start",
    ]);
  });

  it("only warns of an import that nobody exports, because the export may come later", () => {
    const read = readFederation("f.yaml", FEDERATION + IMPORT);
    expect(read.mistakes).toEqual([]);
    expect(read.content).toBeDefined();
    expect(warnings(FEDERATION + IMPORT)).toEqual([
      "f.yaml:17:9 spec.from cluster east does not export cart.shop to west; the import waits for that",
    ]);
  });

  it("warns of a workload pattern that fits nothing", () => {
    expect(warnings(FEDERATION + EXPORT.replace("sa/web", "sa/wbe"))).toEqual([
      'f.yaml:17:50 spec.consumers[0].workloads[0] "ns/shop/sa/wbe" fits no workload of cluster west (did you mean "ns/shop/sa/web"?)',
    ]);
  });

  it("reads an alias by the name that it has at its owner", () => {
    const alias = IMPORT.replace("name: cart", "name: basket").replace(
      "{ cluster: east }",
      "{ cluster: east, name: cart }",
    );
    expect(warnings(FEDERATION + EXPORT + alias)).toEqual([]);
  });
});
