import type { RolloutResource, WithStatus } from "../../model/resource.ts";
import { ok, type Result } from "../../model/result.ts";
import { serviceKey } from "../../model/service.ts";
import { connect } from "../connection.ts";
import { EXIT } from "../exit.ts";
import { type Failure, fail } from "../failure.ts";
import { resourceName } from "../input/resource-file.ts";
import { type Command, type Invocation, usage } from "../invocation.ts";
import { isData, renderData, renderListing } from "../output/format.ts";
import { renderAge } from "../output/duration.ts";
import type { RegistryClient } from "../registry-client.ts";
import { conditionMessage } from "./condition.ts";
import { requireCluster, tellAndWait } from "./change.ts";
import { parseReference } from "./reference.ts";

type Rollout = WithStatus<RolloutResource>;

/** All of them, or one. Exit 1 where one that is asked for by name went back. */
export const status: Command = async (invocation) => {
  const connected = await connect(invocation);
  if (!connected.ok) return connected;
  const { registry } = connected.value;
  const { terminal, args, format, flags } = invocation;
  const cluster = flags.text("cluster");
  if (args[0] !== undefined) {
    const found = await find(invocation, registry, args[0]);
    if (!found.ok) return found;
    if (isData(format)) terminal.out(renderData(format, found.value));
    else print(invocation, [found.value]);
    const phase = found.value.progress?.phase;
    return ok(phase === "RolledBack" || phase === "Aborted" ? EXIT.no : EXIT.yes);
  }
  const found = await registry.list({ kind: "Rollout", ...(cluster === undefined ? {} : { cluster }) });
  if (!found.ok) return found;
  print(
    invocation,
    found.value.items.filter((item): item is Rollout => item.kind === "Rollout"),
  );
  return ok(EXIT.yes);
};

export const pause: Command = (invocation) => act(invocation, "pause");
export const promote: Command = (invocation) => act(invocation, "promote");
export const abort: Command = (invocation) => act(invocation, "abort");

/** What puts each of them right again. */
const UNDO = { pause: "promote", promote: "abort", abort: "promote" } as const;

async function act(invocation: Invocation, action: keyof typeof UNDO) {
  const { args, flags, terminal } = invocation;
  if (args[0] === undefined) return usage(`${action} which rollout?`, "isthmus rollout status lists them");
  const connected = await connect(invocation);
  if (!connected.ok) return connected;
  const { registry } = connected.value;
  const found = await find(invocation, registry, args[0]);
  if (!found.ok) return found;
  const { metadata } = found.value;
  const dryRun = flags.has("dryRun");
  const done = await registry.rollout(metadata, action, { dryRun });
  if (!done.ok) return done;
  const { phase, message } = done.value.progress;
  const place = `${metadata.namespace}/${metadata.name} --cluster ${metadata.cluster}`;
  return tellAndWait(invocation, registry, {
    changes: [
      {
        name: resourceName(found.value),
        action: dryRun ? `would be ${phase}` : phase,
        note: message,
        undo: `${terminal.program} rollout ${UNDO[action]} ${place}`,
        clusters: [metadata.cluster],
      },
    ],
    dryRun,
    next: [`${terminal.program} rollout status ${place}`],
  });
}

async function find(
  invocation: Invocation,
  registry: RegistryClient,
  text: string,
): Promise<Result<Rollout, Failure>> {
  const reference = parseReference("Rollout", text);
  if (!reference.ok) return reference;
  const cluster = requireCluster(reference.value.cluster ?? invocation.flags.text("cluster"));
  if (!cluster.ok) return cluster;
  const namespace = reference.value.namespace ?? invocation.flags.text("namespace");
  const found = await registry.list({
    kind: "Rollout",
    cluster: cluster.value,
    name: reference.value.name,
    ...(namespace === undefined ? {} : { namespace }),
  });
  if (!found.ok) return found;
  const [only, other] = found.value.items.filter((item): item is Rollout => item.kind === "Rollout");
  if (only === undefined) return fail("not_found", `there is no rollout ${text} in cluster ${cluster.value}`);
  if (other !== undefined) return usage(`${text} names several rollouts`, "write namespace/name");
  return ok(only);
}

function print({ terminal, format }: Invocation, items: readonly Rollout[]): void {
  const columns = [
    { head: "CLUSTER", cell: ({ metadata }: Rollout) => metadata.cluster },
    { head: "ROLLOUT", cell: ({ metadata }: Rollout) => serviceKey(metadata) },
    { head: "VERSIONS", cell: ({ spec }: Rollout) => `${spec.stable.version} → ${spec.canary.version}` },
    { head: "PHASE", cell: ({ progress }: Rollout) => progress?.phase ?? "-" },
    {
      head: "STEP",
      cell: ({ progress, spec }: Rollout) =>
        `${Math.min((progress?.step ?? -1) + 1, spec.steps.length)}/${spec.steps.length}`,
    },
    { head: "WEIGHT", cell: ({ progress }: Rollout) => `${progress?.weight ?? 0} %` },
    { head: "SINCE", cell: ({ progress }: Rollout) => renderAge(progress?.since, terminal.now()) },
    {
      head: "MESSAGE",
      cell: ({ progress, status: { conditions } }: Rollout) =>
        progress?.message ?? conditionMessage(conditions),
    },
  ];
  terminal.out(renderListing<Rollout>(format, { kind: "Rollout", items, columns, name: resourceName }));
}
