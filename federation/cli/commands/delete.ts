import type { Resource } from "../../model/resource.ts";
import { ok, type Result } from "../../model/result.ts";
import { connect } from "../connection.ts";
import type { Failure } from "../failure.ts";
import { resourceName } from "../input/resource-file.ts";
import { type Command, type Invocation, usage } from "../invocation.ts";
import type { RegistryClient, ResourceReference } from "../registry-client.ts";
import { readResourceFiles } from "./apply.ts";
import { type Change, clustersConcerned, restoreCommand, tellAndWait } from "./change.ts";
import { isAppliedKind, kindWord, parseKind, parseReference } from "./reference.ts";

type Target = { readonly cluster: string } | { readonly resource: ResourceReference };

export const remove: Command = async (invocation) => {
  const { flags } = invocation;
  const connected = await connect(invocation);
  if (!connected.ok) return connected;
  const { registry, connection } = connected.value;
  const targets = await findTargets(invocation, connection.cluster);
  if (!targets.ok) return targets;
  const dryRun = flags.has("dryRun");
  const changes: Change[] = [];
  for (const target of targets.value) {
    const removed = await removeOne(invocation, registry, target, dryRun);
    if (!removed.ok) return removed;
    changes.push(removed.value);
  }
  return tellAndWait(invocation, registry, { changes, dryRun, next: [] });
};

async function findTargets(
  invocation: Invocation,
  cluster: string | undefined,
): Promise<Result<readonly Target[], Failure>> {
  const { args, flags, terminal } = invocation;
  if (flags.list("file").length > 0) {
    const read = await readResourceFiles(invocation);
    if (!read.ok) return read;
    return ok(
      read.value.map(({ resource }) => ({ resource: { kind: resource.kind, ...resource.metadata } })),
    );
  }
  const [first, second] = args;
  if (first === undefined)
    return usage("delete what?", `${terminal.program} delete <kind> <name>, or -f <file>`);
  // `export/east/shop/cart`, as `-o name` prints it, is kind and name in one.
  const slash = first.indexOf("/");
  const [kindText, nameText] =
    second === undefined && slash > 0 ? [first.slice(0, slash), first.slice(slash + 1)] : [first, second];
  const kind = parseKind(kindText);
  if (!kind.ok) return kind;
  if (nameText === undefined) return usage(`delete which ${kindWord(kind.value)}?`);
  const target = targetOf(kind.value, nameText, cluster, flags.text("namespace"));
  return target.ok ? ok([target.value]) : target;
}

function targetOf(
  kind: Resource["kind"],
  text: string,
  fallbackCluster: string | undefined,
  fallbackNamespace: string | undefined,
): Result<Target, Failure> {
  if (kind === "Service") {
    return usage(
      "services are reported by their cluster",
      "take the service out of the cluster's services file",
    );
  }
  const reference = parseReference(kind, text);
  if (!reference.ok) return reference;
  if (!isAppliedKind(kind)) return ok({ cluster: reference.value.name });
  const cluster = reference.value.cluster ?? fallbackCluster;
  if (cluster === undefined)
    return usage(`of which cluster is ${text}?`, "pass --cluster <name>, or write it in front");
  const namespace = reference.value.namespace ?? fallbackNamespace;
  if (kind !== "EgressPolicy" && namespace === undefined) {
    return usage(`of which namespace is ${text}?`, "write cluster/namespace/name, or name.namespace");
  }
  const { name } = reference.value;
  return ok({ resource: { kind, cluster, name, ...(namespace === undefined ? {} : { namespace }) } });
}

async function removeOne(
  { terminal }: Invocation,
  registry: RegistryClient,
  target: Target,
  dryRun: boolean,
): Promise<Result<Change, Failure>> {
  const action = dryRun ? "would be deleted" : "deleted";
  if ("cluster" in target) {
    const answer = await registry.deleteCluster(target.cluster, { dryRun });
    if (!answer.ok) return answer;
    const undo = `${terminal.program} cluster register ${target.cluster}   (it has to join again)`;
    return ok({ name: `cluster/${target.cluster}`, action, undo, clusters: [] });
  }
  const answer = await registry.delete(target.resource, { dryRun });
  if (!answer.ok) return answer;
  const { deleted } = answer.value;
  return ok({
    name: resourceName(deleted),
    action,
    undo: restoreCommand(deleted, terminal.program),
    clusters: [deleted.metadata.cluster, ...clustersConcerned(deleted)],
  });
}
