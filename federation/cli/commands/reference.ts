import type { AppliedKind, Resource } from "../../model/resource.ts";
import { ok, type Result } from "../../model/result.ts";
import type { ServiceName } from "../../model/service.ts";
import { nearest } from "../../model/wire/nearest.ts";
import type { Failure } from "../failure.ts";
import { usage } from "../invocation.ts";

/** Every word by which people call a kind; the first is the one that messages use. */
const KIND_WORDS: { readonly [K in Resource["kind"]]: readonly string[] } = {
  Cluster: ["cluster", "clusters"],
  Service: ["service", "services", "svc"],
  ServiceExport: ["export", "exports", "serviceexport", "serviceexports"],
  ServiceImport: ["import", "imports", "serviceimport", "serviceimports"],
  EgressPolicy: ["egress", "egresspolicy", "egresspolicies"],
  TrafficRoute: ["route", "routes", "trafficroute", "trafficroutes"],
  RateLimit: ["ratelimit", "ratelimits"],
  BackendTrafficPolicy: [
    "trafficpolicy",
    "trafficpolicies",
    "backendtrafficpolicy",
    "backendtrafficpolicies",
  ],
  Rollout: ["rollout", "rollouts"],
  AuthorizationPolicy: ["authorization", "authorizationpolicy", "authorizationpolicies"],
};

export function parseKind(word: string): Result<Resource["kind"], Failure> {
  const lower = word.toLowerCase();
  for (const [kind, words] of Object.entries(KIND_WORDS)) {
    if (words.includes(lower)) return ok(kind as Resource["kind"]);
  }
  const close = nearest(lower, Object.values(KIND_WORDS).flat());
  const kinds = Object.values(KIND_WORDS).map(([first]) => first);
  const meant = close === undefined ? "" : `; did you mean ${close}?`;
  return usage(`there is no kind ${word}${meant}`, `kinds are ${kinds.join(", ")}`);
}

export function isAppliedKind(kind: Resource["kind"]): kind is AppliedKind {
  return kind !== "Cluster" && kind !== "Service";
}

/** What a name on the command line says; parts that it leaves out come from flags. */
export interface PartialReference {
  readonly cluster?: string;
  readonly namespace?: string;
  readonly name: string;
}

/**
 * `east/shop/cart`, `shop/cart` or `cart.shop` for things in a namespace; `west/policy` or `policy` for policies;
 * `east` for clusters.
 */
export function parseReference(kind: Resource["kind"], text: string): Result<PartialReference, Failure> {
  const parts = text.split("/");
  if (
    parts.some((part) => part === "") ||
    parts.length > (kind === "Cluster" ? 1 : kind === "EgressPolicy" ? 2 : 3)
  ) {
    return usage(`"${text}" does not name ${article(kind)}`, `write ${shapeOf(kind)}`);
  }
  const [first = "", second, third] = parts;
  if (kind === "Cluster") return ok({ name: first });
  if (kind === "EgressPolicy")
    return ok(second === undefined ? { name: first } : { cluster: first, name: second });
  if (third !== undefined && second !== undefined)
    return ok({ cluster: first, namespace: second, name: third });
  const local = second === undefined ? first : `${first}/${second}`;
  const service = parseServiceName(local);
  if (service !== undefined) return ok(service);
  return second === undefined
    ? ok({ name: first })
    : usage(`"${text}" does not name ${article(kind)}`, `write ${shapeOf(kind)}`);
}

/** `cart.shop` or `shop/cart`. */
export function parseServiceName(text: string): ServiceName | undefined {
  const dotted = /^([a-z0-9-]+)\.([a-z0-9-]+)$/.exec(text);
  if (dotted?.[1] !== undefined && dotted[2] !== undefined) return { name: dotted[1], namespace: dotted[2] };
  const slashed = /^([a-z0-9-]+)\/([a-z0-9-]+)$/.exec(text);
  if (slashed?.[1] !== undefined && slashed[2] !== undefined)
    return { namespace: slashed[1], name: slashed[2] };
  return undefined;
}

export function kindWord(kind: Resource["kind"]): string {
  return KIND_WORDS[kind][0] ?? kind;
}

function article(kind: Resource["kind"]): string {
  const word = kindWord(kind);
  return /^[aeiou]/.test(word) ? `an ${word}` : `a ${word}`;
}

function shapeOf(kind: Resource["kind"]): string {
  if (kind === "Cluster") return "its name";
  return kind === "EgressPolicy"
    ? "cluster/name"
    : "cluster/namespace/name, or name.namespace with --cluster";
}
