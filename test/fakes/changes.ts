import { readFileSync } from "node:fs";
import type { AppliedResource } from "../../federation/model/resource.ts";
import type { Federation } from "./federation.ts";

const apiVersion = "isthmus.dev/v1alpha1";

/** `cart` of east for these workloads of west. */
export function exportTo(...workloads: readonly string[]): AppliedResource {
  return {
    apiVersion,
    kind: "ServiceExport",
    metadata: { cluster: "east", namespace: "shop", name: "cart" },
    spec: { consumers: [{ cluster: "west", workloads: workloads.map((name) => `ns/shop/sa/${name}`) }] },
  };
}

export function egressFrom(mode: "observe" | "enforce", workload: string): AppliedResource {
  return {
    apiVersion,
    kind: "EgressPolicy",
    metadata: { cluster: "west", name: "shopping" },
    spec: {
      mode,
      from: [{ workload: `ns/shop/sa/${workload}` }],
      to: [{ service: { namespace: "shop", name: "cart" } }],
    },
  };
}

/** Writes to the registry as any client would; resolves when it acknowledged. */
export async function applyTo(federation: Federation, resource: AppliedResource): Promise<void> {
  const { registry, adminTokenFile } = federation.ready;
  const answer = await fetch(`${registry}/v1/apply`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${readFileSync(adminTokenFile, "utf8").trim()}`,
      "content-type": "application/json",
    },
    body: JSON.stringify({ resources: [resource] }),
  });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
}
