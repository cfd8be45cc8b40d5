import type { Resource, WithStatus } from "../../model/resource.ts";
import { ok } from "../../model/result.ts";
import { connect } from "../connection.ts";
import { EXIT } from "../exit.ts";
import { fail } from "../failure.ts";
import { resourceName } from "../input/resource-file.ts";
import { type Command, type Flags, hint } from "../invocation.ts";
import { type Column, isData, renderData, renderListing } from "../output/format.ts";
import { renderAge } from "../output/duration.ts";
import type { ResourceQuery } from "../registry-client.ts";
import { conditionMessage, conditionWord } from "./condition.ts";
import { kindWord, type PartialReference, parseKind, parseReference } from "./reference.ts";

type Item = WithStatus<Resource>;

export const get: Command = async (invocation) => {
  const { terminal, args, flags, format } = invocation;
  const [kindText = "", nameText] = args;
  const kind = parseKind(kindText);
  if (!kind.ok) return kind;
  const reference = nameText === undefined ? undefined : parseReference(kind.value, nameText);
  if (reference?.ok === false) return reference;
  const connected = await connect(invocation);
  if (!connected.ok) return connected;
  const found = await connected.value.registry.list(queryOf(kind.value, reference?.value, flags));
  if (!found.ok) return found;
  const items = found.value.items;
  if (nameText !== undefined && items.length === 0) {
    return fail("not_found", `there is no ${kindWord(kind.value)} ${nameText}`, {
      fix: `${terminal.program} get ${kindWord(kind.value)} lists them`,
    });
  }
  const [only] = items;
  if (nameText !== undefined && items.length === 1 && only !== undefined && isData(format)) {
    terminal.out(renderData(format, only));
    return ok(EXIT.yes);
  }
  const columns = columnsOf(kind.value, () => terminal.now());
  terminal.out(renderListing<Item>(format, { kind: kind.value, items, columns, name: resourceName }));
  if (items.length === 0) hint(invocation, "note", `there is no ${kindWord(kind.value)}`);
  return ok(EXIT.yes);
};

function queryOf(
  kind: Resource["kind"],
  reference: PartialReference | undefined,
  flags: Flags,
): ResourceQuery {
  if (kind === "Cluster") return reference === undefined ? { kind } : { kind, name: reference.name };
  const cluster = reference?.cluster ?? flags.text("cluster");
  const namespace = reference?.namespace ?? flags.text("namespace");
  return {
    kind,
    ...(cluster === undefined ? {} : { cluster }),
    ...(namespace === undefined ? {} : { namespace }),
    ...(reference === undefined ? {} : { name: reference.name }),
  };
}

function columnsOf(kind: Resource["kind"], now: () => number): readonly Column<Item>[] {
  const place: Column<Item>[] = [];
  if (kind !== "Cluster") place.push({ head: "CLUSTER", cell: ({ metadata }) => field(metadata, "cluster") });
  if (kind !== "Cluster" && kind !== "EgressPolicy") {
    place.push({ head: "NAMESPACE", cell: ({ metadata }) => field(metadata, "namespace") });
  }
  return [
    ...place,
    { head: "NAME", cell: ({ metadata }) => metadata.name },
    { head: "STATUS", cell: ({ status }) => conditionWord(status.conditions) },
    { head: "VERSION", cell: ({ metadata }) => String(metadata.resourceVersion ?? "-") },
    { head: "FIRST SEEN", cell: ({ metadata }) => renderAge(metadata.firstSeen, now()), wide: true },
    { head: "MESSAGE", cell: ({ status }) => conditionMessage(status.conditions), wide: true },
  ];
}

function field(metadata: Item["metadata"], name: "cluster" | "namespace"): string {
  const value: unknown = Reflect.get(metadata, name);
  return typeof value === "string" ? value : "-";
}
