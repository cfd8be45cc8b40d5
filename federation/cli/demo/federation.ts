import { ok, type Result } from "../../model/result.ts";
import { type Failure, fail } from "../failure.ts";
import { type FederationFile, readFederation } from "../input/federation-file.ts";
import { renderMistake } from "../input/mistake.ts";

/** The file that a user would write for this; `demo` reads it as `up` does. */
export function demoFile(cartAddress: string): string {
  return `apiVersion: isthmus.dev/v1alpha1
kind: LocalFederation
metadata: { name: demo.mesh }
spec:
  clusters:
    - name: east
      workloads:
        - namespace: shop
          name: cart
          services: [{ name: cart, port: 80, protocol: http, endpoints: ["${cartAddress}"] }]
    - name: west
      workloads: [{ namespace: shop, name: web }, { namespace: shop, name: batch }]
---
apiVersion: isthmus.dev/v1alpha1
kind: ServiceExport
metadata: { cluster: east, namespace: shop, name: cart }
spec: { consumers: [{ cluster: west, workloads: ["ns/shop/sa/web"] }] }
---
apiVersion: isthmus.dev/v1alpha1
kind: ServiceImport
metadata: { cluster: west, namespace: shop, name: cart }
spec: { from: { cluster: east } }
`;
}

export function readDemoFile(cartAddress: string): Result<FederationFile, Failure> {
  const { content, mistakes } = readFederation("demo.yaml", demoFile(cartAddress));
  if (content !== undefined) return ok(content);
  return fail("internal", "the demo's own file does not fit", { lines: mistakes.map(renderMistake) });
}
