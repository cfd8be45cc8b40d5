import { sourcePattern, targetText } from "../../model/egress-policy.ts";
import type { EgressPolicyResource, WithStatus } from "../../model/resource.ts";
import { ok } from "../../model/result.ts";
import { connect } from "../connection.ts";
import { EXIT } from "../exit.ts";
import { resourceName } from "../input/resource-file.ts";
import { type Command, hint } from "../invocation.ts";
import { renderListing } from "../output/format.ts";
import { conditionMessage, conditionWord } from "./condition.ts";

type Policy = WithStatus<EgressPolicyResource>;

export const list: Command = async (invocation) => {
  const connected = await connect(invocation);
  if (!connected.ok) return connected;
  const cluster = invocation.flags.text("cluster");
  const found = await connected.value.registry.list({
    kind: "EgressPolicy",
    ...(cluster === undefined ? {} : { cluster }),
  });
  if (!found.ok) return found;
  const items = found.value.items.filter((item): item is Policy => item.kind === "EgressPolicy");
  invocation.terminal.out(
    renderListing<Policy>(invocation.format, {
      kind: "EgressPolicy",
      items,
      columns: EGRESS_COLUMNS,
      name: resourceName,
    }),
  );
  if (!items.some((policy) => policy.spec.mode === "enforce")) {
    invocation.terminal.err("no policy enforces: workloads may leave to every service that they import");
  }
  if (items.length === 0) {
    hint(invocation, "next", "write an EgressPolicy with mode: observe, then isthmus apply -f it");
  }
  return ok(EXIT.yes);
};

export const EGRESS_COLUMNS = [
  { head: "CLUSTER", cell: (policy: Policy) => policy.metadata.cluster },
  { head: "POLICY", cell: (policy: Policy) => policy.metadata.name },
  { head: "MODE", cell: (policy: Policy) => policy.spec.mode },
  { head: "FROM", cell: (policy: Policy) => policy.spec.from.map(sourcePattern).join(",") },
  {
    head: "TO",
    cell: (policy: Policy) => policy.spec.to.map(targetText).join(" ") || "nothing",
  },
  { head: "STATUS", cell: (policy: Policy) => conditionWord(policy.status.conditions) },
  {
    head: "MESSAGE",
    cell: (policy: Policy) => conditionMessage(policy.status.conditions),
    wide: true as const,
  },
];
