import { API_VERSION, type ClusterStatus, type MemberStatus } from "../../model/resource.ts";
import { ok } from "../../model/result.ts";
import { connect } from "../connection.ts";
import { EXIT } from "../exit.ts";
import { type Command, hint, type Invocation } from "../invocation.ts";
import { renderAge, renderDuration } from "../output/duration.ts";
import { isData, renderData, renderListing } from "../output/format.ts";
import { renderTable } from "../output/table.ts";
import { tell } from "./change.ts";

export const register: Command = async (invocation) => {
  const { terminal, args, flags, format, paint } = invocation;
  const connected = await connect(invocation);
  if (!connected.ok) return connected;
  const { registry, connection } = connected.value;
  const [name = ""] = args;
  const dryRun = flags.has("dryRun");
  const answer = await registry.register(name, { dryRun });
  if (!answer.ok) return answer;
  const { action, token, expiresAt } = answer.value;
  if (dryRun || token === undefined) {
    const changes = [{ name: `cluster/${name}`, action: `would be ${action}`, clusters: [name] }];
    tell(invocation, { dryRun: true, next: [], changes });
    return ok(EXIT.yes);
  }
  const undo = `${terminal.program} delete cluster ${name}`;
  const next = `${terminal.program} cluster join ${name} --registry ${connection.registry} --state ./${name} --join-token ${token}`;
  if (isData(format)) {
    terminal.out(
      renderData(format, {
        apiVersion: API_VERSION,
        kind: "ClusterRegistration",
        ...answer.value,
        undo,
        next,
      }),
    );
    return ok(EXIT.yes);
  }
  if (format === "name") terminal.out(`cluster/${name}`);
  else {
    const left =
      expiresAt === undefined ? "" : `, for ${renderDuration(Date.parse(expiresAt) - terminal.now() + 500)}`;
    terminal.out(`cluster ${name} ${action}. Its join token, valid once${left}:`);
    terminal.out(paint("bold", token));
  }
  hint(invocation, "undo", undo);
  hint(invocation, "next", `${next}   (on a machine of ${name})`);
  return ok(EXIT.yes);
};

export const list: Command = async (invocation) => {
  const connected = await connect(invocation);
  if (!connected.ok) return connected;
  const clusters = await connected.value.registry.clusters();
  if (!clusters.ok) return clusters;
  invocation.terminal.out(renderClusters(invocation, clusters.value.items));
  if (clusters.value.items.length === 0) {
    hint(invocation, "next", `${invocation.terminal.program} cluster register <name>`);
  }
  return ok(EXIT.yes);
};

/** The cluster table; the demo shows it too. */
export function renderClusters(
  { terminal, format }: Pick<Invocation, "terminal" | "format">,
  items: readonly ClusterStatus[],
): string {
  const now = terminal.now();
  return renderListing<ClusterStatus>(format, {
    kind: "Cluster",
    items,
    name: ({ name }) => `cluster/${name}`,
    columns: [
      { head: "CLUSTER", cell: ({ name }) => name },
      { head: "STATE", cell: ({ state }) => state },
      { head: "GATEWAYS", cell: (cluster) => countFresh(cluster, "gateway") },
      { head: "AGENTS", cell: (cluster) => countFresh(cluster, "agent") },
      { head: "REVISION", cell: renderRevision },
      { head: "TUNNELS", cell: renderTunnels },
      { head: "CA LIFE", cell: ({ caNotAfter }) => renderLeft(caNotAfter, now) },
      { head: "TRUST DOMAIN", cell: ({ trustDomain }) => trustDomain, wide: true },
      { head: "REGISTERED", cell: ({ registeredAt }) => renderAge(registeredAt, now), wide: true },
    ],
  });
}

export const status: Command = async (invocation) => {
  const { terminal, args, format, paint } = invocation;
  const connected = await connect(invocation);
  if (!connected.ok) return connected;
  const answer = await connected.value.registry.cluster(args[0] ?? "");
  if (!answer.ok) return answer;
  const cluster = answer.value;
  if (isData(format)) {
    terminal.out(renderData(format, { apiVersion: API_VERSION, kind: "ClusterStatus", ...cluster }));
    return ok(EXIT.yes);
  }
  if (format === "name") terminal.out(`cluster/${cluster.name}`);
  else terminal.out(renderStatus(cluster, terminal.now(), paint));
  if (cluster.state === "pending") {
    hint(invocation, "next", `${terminal.program} cluster register ${cluster.name} prints a new join token`);
  }
  return ok(EXIT.yes);
};

function renderStatus(cluster: ClusterStatus, now: number, paint: Invocation["paint"]): string {
  const { name, state, trustDomain, caNotAfter, members, snapshotRevision } = cluster;
  const facts = [
    `${paint("bold", name)} is ${state}: trust domain ${trustDomain}, snapshot revision ${snapshotRevision}`,
    `CA: ${renderLeft(caNotAfter, now)} left`,
  ];
  if (members.length === 0) return [...facts, "no member has reported yet"].join("\n");
  const rows = members.map((member) => [
    member.member,
    member.version,
    member.state === "applied" ? String(member.appliedRevision) : `refused ${member.code ?? ""}`.trim(),
    renderAge(member.lastSeen, now),
    member.advertise ?? "-",
    member.admin ?? "-",
    String(member.listeners.length),
  ]);
  const heads = ["MEMBER", "VERSION", "REVISION", "LAST SEEN", "ADVERTISES", "ADMIN", "LISTENERS"];
  const tunnels = members.flatMap((member) =>
    member.tunnels.map((tunnel) => [
      member.member,
      tunnel.cluster,
      tunnel.address,
      tunnel.code === undefined ? tunnel.state : `${tunnel.state} ${tunnel.code}`,
    ]),
  );
  // Several members of a cluster serve the same addresses.
  const listeners = new Map(
    members
      .flatMap((member) => member.listeners)
      .map((one) => [`${one.workload} ${one.service} ${one.port}`, one]),
  );
  const addresses = [...listeners.values()].map((one) => [
    one.workload,
    `${one.service}:${one.port}`,
    one.address,
    one.protocol === undefined ? "-" : `${one.protocol.name}: ${one.protocol.why}`,
  ]);
  const table = (columns: readonly string[], lines: readonly (readonly string[])[]): readonly string[] =>
    lines.length === 0 ? [] : ["", renderTable(columns, lines)];
  return [
    ...facts,
    ...table(heads, rows),
    ...table(["MEMBER", "TUNNEL TO", "ADDRESS", "STATE"], tunnels),
    ...table(["WORKLOAD", "REACHES", "AT", "PROTOCOL"], addresses),
  ].join("\n");
}

function countFresh({ members }: ClusterStatus, role: MemberStatus["role"]): string {
  return String(members.filter((member) => member.role === role).length);
}

/** The newest revision and, if they are not there yet, how many members are. */
function renderRevision({ members, snapshotRevision }: ClusterStatus): string {
  const current = members.filter((member) => member.appliedRevision >= snapshotRevision).length;
  return current === members.length
    ? String(snapshotRevision)
    : `${snapshotRevision} (${current}/${members.length})`;
}

function renderTunnels({ members }: ClusterStatus): string {
  const tunnels = members.flatMap((member) => member.tunnels);
  return tunnels.length === 0
    ? "-"
    : `${tunnels.filter(({ state }) => state === "up").length}/${tunnels.length} up`;
}

function renderLeft(notAfter: string | undefined, now: number): string {
  if (notAfter === undefined) return "-";
  const left = Date.parse(notAfter) - now;
  return left > 0 ? renderDuration(left) : `expired ${renderAge(notAfter, now)}`;
}
