import { crc32 } from "node:zlib";
import type { AppliedResource, MemberStatus, ServiceResource } from "../../model/resource.ts";
import type { SigningRing } from "../../registry/signing-ring.ts";
import { type ClusterRecord, type Item, type ItemKey, keyOf } from "../../registry/state.ts";
import type { StoredMember } from "../../registry/store.ts";

/** One row of `items`. */
export interface ItemRow {
  readonly key: ItemKey;
  readonly body: string;
  readonly sum: number;
}

export function toRow(item: Item): ItemRow {
  const body = JSON.stringify(item.value);
  return { key: keyOf(item), body, sum: crc32(body) };
}

/** A stored body that is not what was written. */
export class DamagedRow extends Error {}

/** Bodies are ours and their sum holds, so their shape needs no second look. */
export function fromRow(row: Readonly<Record<string, unknown>>): Item {
  const { kind, cluster, namespace, name, body, sum } = row;
  if (
    typeof kind !== "string" ||
    typeof cluster !== "string" ||
    typeof body !== "string" ||
    crc32(body) !== sum
  ) {
    throw new DamagedRow(
      `the object ${[kind, cluster, namespace, name].join("/")} does not match its checksum`,
    );
  }
  const value: unknown = JSON.parse(body);
  if (kind === "Cluster") return { kind, value: value as ClusterRecord };
  if (kind === "SigningKeys") return { kind, value: value as SigningRing };
  if (kind === "Services") return { kind, cluster, value: value as readonly ServiceResource[] };
  return { kind: "Applied", value: value as AppliedResource };
}

export function memberOf(row: Readonly<Record<string, unknown>>): StoredMember {
  const stored = {
    cluster: String(row["cluster"]),
    member: String(row["member"]),
    sequence: Number(row["sequence"]),
  };
  return row["body"] === "" ? stored : { ...stored, status: parse<MemberStatus>(row["body"]) };
}

/** Bodies are our own writing, so their shape needs no second look. */
export function parse<T>(body: unknown): T {
  return JSON.parse(String(body)) as T;
}
