import { API_VERSION, type AppliedResource } from "../../federation/model/resource.ts";
import type { Issue, Problem } from "../../federation/model/problem.ts";
import type { DeclareResponse } from "../../federation/model/wire/api.ts";
import { POLICY_KINDS, type PolicyKind } from "../../federation/model/wire/policy-kinds.ts";
import { decodeAppliedResource } from "../../federation/model/wire/resource.ts";
import { createInformer, type Informer, type InformerOptions } from "./api/informer.ts";
import { type KubeObject, objectKey } from "./api/object.ts";
import type { ResourceType } from "./api/resource-type.ts";
import { LastGood } from "./last-good.ts";
import { type ConditionDraft, conditionsToWrite } from "./mcs/conditions.ts";
import { type Change, statusChange } from "./mcs/plan.ts";

/** One of our own kinds as somebody wrote it in Kubernetes, judged by the registry's own schema. */
export interface KubePolicy {
  readonly namespace?: string;
  readonly name: string;
  readonly generation: number;
  readonly status: unknown;
  readonly verdict:
    | { readonly ok: true; readonly value: AppliedResource }
    | { readonly ok: false; readonly error: readonly Issue[] };
}

type Results = DeclareResponse["results"];

/** Follows our own kinds; each object is good or bad by itself, and a bad one keeps none of the others away. */
export class Policies {
  readonly #informers: readonly { readonly kind: PolicyKind; readonly informer: Informer<KubePolicy> }[];

  readonly #lastGood = new LastGood();

  constructor(
    cluster: string,
    common: Pick<InformerOptions<KubePolicy>, "client" | "clock" | "random" | "log">,
    onChange: () => void,
  ) {
    this.#informers = POLICY_KINDS.map((kind) => ({
      kind,
      informer: createInformer<KubePolicy>({
        ...common,
        types: [typeOf(kind)],
        digest: (object) => digestPolicy(cluster, kind, object),
        onChange,
        onListed: onChange,
      }),
    }));
  }

  start(): void {
    for (const { informer } of this.#informers) informer.start();
  }

  stop(): void {
    for (const { informer } of this.#informers) informer.stop();
  }

  get known(): boolean {
    return this.#informers.every(({ informer }) => informer.known);
  }

  problems(): readonly Problem[] {
    // That nobody installed one of our kinds is no problem of this cluster's.
    return this.#informers
      .flatMap(({ informer }) => informer.problem.current ?? [])
      .filter(({ name }) => name !== "kube_resource_missing");
  }

  declared(): readonly AppliedResource[] {
    return this.#lastGood.of(
      this.#all().map(({ type, policy }) => ({
        key: `${type.kind}/${objectKey(policy)}`,
        value: policy.verdict.ok ? policy.verdict.value : undefined,
      })),
    );
  }

  /** What to write on the objects, once the registry has answered. */
  statusChanges(results: Results, now: string): readonly Change[] {
    const byKey = new Map<string, Results[number]>(
      results.map((result) => [`${result.kind}/${objectKey(result.metadata)}`, result] as const),
    );
    return this.#all().flatMap(({ type, policy }) => {
      const drafts = conditionsOf(policy, byKey.get(`${type.kind}/${objectKey(policy)}`));
      const conditions = conditionsToWrite(drafts, policy.status, policy.generation, now);
      const { namespace = "", name } = policy;
      if (conditions === undefined) return [];
      const change = statusChange(type, { namespace, name }, { conditions });
      return [namespace === "" ? withoutNamespace(change) : change];
    });
  }

  #all(): readonly { readonly type: ResourceType; readonly policy: KubePolicy }[] {
    return this.#informers.flatMap(({ informer }) =>
      [...informer.items]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([, policy]) => ({ type: informer.type, policy })),
    );
  }
}

function typeOf({ plural, kind, namespaced }: PolicyKind): ResourceType {
  return { group: "isthmus.dev", version: "v1alpha1", plural, kind, namespaced };
}

function digestPolicy(cluster: string, { kind, namespaced }: PolicyKind, object: KubeObject): KubePolicy {
  const { namespace, name, generation = 1 } = object.metadata;
  const metadata = namespaced ? { cluster, namespace, name } : { cluster, name };
  const verdict = decodeAppliedResource({ apiVersion: API_VERSION, kind, metadata, spec: object.spec });
  return {
    name,
    generation,
    status: object.status,
    verdict,
    ...(namespaced && namespace !== undefined ? { namespace } : {}),
  };
}

const MAX_ISSUES = 5;

function conditionsOf(
  { verdict }: KubePolicy,
  result: Results[number] | undefined,
): readonly ConditionDraft[] {
  if (!verdict.ok) {
    const told = verdict.error.slice(0, MAX_ISSUES).map(({ path, message }) => `${path} ${message}`);
    const rest = verdict.error.length > MAX_ISSUES ? `; and ${verdict.error.length - MAX_ISSUES} more` : "";
    return [{ type: "Accepted", status: "False", reason: "Invalid", message: told.join("; ") + rest }];
  }
  if (result === undefined)
    return [
      { type: "Accepted", status: "Unknown", reason: "Pending", message: "the registry has not answered" },
    ];
  if (result.action === "refused") return result.conditions;
  if (result.action === "shadowed") {
    const message = "an operator applied an object of this name to the registry; that one is in force";
    return [{ type: "Accepted", status: "False", reason: "Conflict", message }];
  }
  const accepted = { type: "Accepted", status: "True", reason: "Accepted", message: "in force" } as const;
  return [accepted, ...result.conditions.filter(({ type }) => type !== "Accepted")];
}

function withoutNamespace(change: Change): Change {
  if (change.kind === "delete") return change;
  const { namespace: _none, ...metadata } = change.object.metadata;
  return { ...change, object: { ...change.object, metadata } };
}
