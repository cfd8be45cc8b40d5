import type { SpiffeId } from "./spiffe-id.ts";

/**
 * Names workloads of one cluster: `ns/shop/sa/web`, `ns/shop/sa/*`, or `*` for all of them. The trust domain is not part
 * of the pattern: it comes from the cluster the pattern is written for, so a pattern can never reach across clusters.
 */
export type WorkloadPattern = string;

export const WORKLOAD_PATTERN =
  /^(\*|ns\/([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?|\*)\/sa\/([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\*))$/;

/** Whether `id`'s path fits; the caller has compared the trust domain already. */
export function matchWorkload(pattern: WorkloadPattern, id: SpiffeId): boolean {
  if (pattern === "*") return true;
  const [, wantNamespace, , wantAccount] = pattern.split("/");
  const [, ns, namespace, sa, account, ...rest] = id.path.split("/");
  if (ns !== "ns" || sa !== "sa" || rest.length > 0 || namespace === undefined || account === undefined)
    return false;
  return (
    (wantNamespace === "*" || wantNamespace === namespace) && (wantAccount === "*" || wantAccount === account)
  );
}

/** `ns/shop/sa/web` of `spiffe://…/ns/shop/sa/web`: the short form that people read and write. */
export function workloadName(id: SpiffeId): string {
  return id.path.slice(1);
}
