import * as z from "zod";
import { appliedResource } from "./resource.ts";

/** A kind of ours that people write in Kubernetes under its own name; exports and imports are the MCS API's there. */
export interface PolicyKind {
  readonly kind: string;
  /** `egresspolicies` */
  readonly plural: string;
  readonly namespaced: boolean;
  readonly spec: z.ZodType;
}

const MCS_KINDS = new Set(["ServiceExport", "ServiceImport"]);

export const POLICY_KINDS: readonly PolicyKind[] = appliedResource.options.flatMap(({ shape }) => {
  const kind = shape.kind.value;
  if (MCS_KINDS.has(kind)) return [];
  return [
    { kind, plural: pluralOf(kind), namespaced: "namespace" in shape.metadata.shape, spec: shape.spec },
  ];
});

function pluralOf(kind: string): string {
  const lower = kind.toLowerCase();
  return lower.endsWith("y") ? `${lower.slice(0, -1)}ies` : `${lower}s`;
}

/** JSON Schema of a spec as the OpenAPI that Kubernetes speaks; see `federation/cli/install/crd.ts`. */
export function specJsonSchema(spec: z.ZodType): unknown {
  return z.toJSONSchema(spec, { io: "input", unrepresentable: "any", target: "openapi-3.0" });
}
