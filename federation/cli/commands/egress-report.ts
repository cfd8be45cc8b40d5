import { writeFile } from "node:fs/promises";
import type { EgressFlow } from "../../model/egress-flow.ts";
import { ok } from "../../model/result.ts";
import type { EgressPolicyResource } from "../../model/resource.ts";
import { connect } from "../connection.ts";
import { EXIT } from "../exit.ts";
import { fail } from "../failure.ts";
import { type Command, hint, usage } from "../invocation.ts";
import { renderListing } from "../output/format.ts";
import { yaml } from "../yaml.ts";
import { mergeFlows, writePolicies } from "./egress-flows.ts";
import { askGateway, gatewaysOf } from "./egress-test.ts";

interface Answered {
  readonly flows: readonly EgressFlow[];
  readonly lost: number;
}

/** What left the cluster, and the smallest policy that allows exactly that. */
export const report: Command = async (invocation) => {
  const { terminal, flags, format } = invocation;
  const found = await gatewaysOf(invocation);
  if (!found.ok) return found;
  const lists: Answered[] = [];
  for (const { admin, member } of found.value) {
    const asked = await askGateway(`http://${admin}/egress/flows`, isAnswered);
    // A gateway that is not asked may have seen what the policy then would deny.
    if (!asked.ok)
      return fail("gateway_unreachable", `${member} at ${admin}: ${asked.error}`, { exit: EXIT.unanswered });
    lists.push(asked.value);
  }
  const flows = mergeFlows(lists.map((list) => list.flows));
  terminal.out(
    renderListing<EgressFlow>(format, { kind: "EgressFlow", items: flows, columns: COLUMNS, name: flowName }),
  );
  const lost = lists.reduce((sum, list) => sum + list.lost, 0);
  if (lost > 0) terminal.err(`${lost} decisions were about flows that the gateways' tables had no room for`);
  const file = flags.text("write");
  if (file === undefined) {
    if (flows.length > 0)
      hint(invocation, "next", "--write <file> writes the policy that allows exactly these");
    return ok(EXIT.yes);
  }
  if (flows.length === 0) return fail("not_found", "nothing was seen: there is no policy to write");
  const cluster = flags.text("cluster") ?? terminal.env("ISTHMUS_CLUSTER");
  if (cluster === undefined) return usage("which cluster?");
  const connected = await connect(invocation);
  if (!connected.ok) return connected;
  const listed = await connected.value.registry.list({ kind: "EgressPolicy", cluster });
  if (!listed.ok) return listed;
  const present = listed.value.items.filter(
    (item): item is typeof item & EgressPolicyResource => item.kind === "EgressPolicy",
  );
  const text = writePolicies(cluster, flows, present)
    .map((policy) => yaml().stringify(policy))
    .join("---\n");
  try {
    await writeFile(file, text);
  } catch (error) {
    return fail("file_unreadable", error instanceof Error ? error.message : String(error));
  }
  hint(invocation, "next", `read ${file}, then ${terminal.program} apply -f ${file} --dry-run`);
  return ok(EXIT.yes);
};

const COLUMNS = [
  { head: "WORKLOAD", cell: (flow: EgressFlow) => flow.workload },
  { head: "DESTINATION", cell: (flow: EgressFlow) => flowName(flow) },
  { head: "PROTOCOL", cell: (flow: EgressFlow) => [flow.protocol, ...flow.methods].join(" ") },
  { head: "COUNT", cell: (flow: EgressFlow) => String(flow.count) },
  { head: "WOULD DENY", cell: (flow: EgressFlow) => String(flow.wouldDeny) },
  { head: "POLICY", cell: (flow: EgressFlow) => flow.policy ?? "-" },
  { head: "LAST SEEN", cell: (flow: EgressFlow) => flow.lastSeen, wide: true as const },
];

function flowName({ host, port }: EgressFlow): string {
  if (port === 0) return host;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function isAnswered(value: unknown): value is Answered {
  return typeof value === "object" && value !== null && "flows" in value && Array.isArray(value.flows);
}
