import { gunzipSync, gzipSync } from "node:zlib";
import type { TransactWriteItem } from "@aws-sdk/client-dynamodb";
import type { MemberStatus } from "../../model/resource.ts";
import type { Change, LoggedChange, StoredRequest } from "../../registry/change.ts";
import type { Foundation, StoredMember } from "../../registry/store.ts";
import { documentsOf, fromRows, type Row, toRows } from "./document.ts";
import { FOUNDATION, HEAD, memberPk, memberSk, requestPk } from "./keys.ts";
import { keyOf } from "./table.ts";

/** Requests are repeated within minutes. */
const REQUEST_KEPT_S = 24 * 3_600;

export interface Head {
  readonly revision: number;
  /** Revision of the checkpoint; 0: there is none. */
  readonly checkpoint: number;
  /** Bytes of the checkpoint, and of the changes since. */
  readonly weight: number;
  readonly logged: number;
}

export function headOf(row: Row | undefined): Head {
  const number = (name: string): number => Number(row?.[name]?.N ?? 0);
  return {
    revision: number("rev"),
    checkpoint: number("ckpt"),
    weight: number("weight"),
    logged: number("logged"),
  };
}

export function foundationRows(foundation: Foundation, head: Omit<Head, "logged">): readonly Row[] {
  const number = (value: number) => ({ N: String(value) });
  return [
    { ...keyOf(FOUNDATION), value: { S: JSON.stringify(foundation) } },
    {
      ...keyOf(HEAD),
      rev: number(head.revision),
      ckpt: number(head.checkpoint),
      weight: number(head.weight),
      logged: number(0),
    },
  ];
}

export function moveHead({ baseRevision, revision }: Change, bytes: number): TransactWriteItem {
  return {
    Update: {
      TableName: "",
      Key: keyOf(HEAD),
      UpdateExpression: "SET rev = :revision, logged = logged + :bytes",
      ConditionExpression: "rev = :base",
      ExpressionAttributeValues: {
        ":revision": { N: String(revision) },
        ":base": { N: String(baseRevision) },
        ":bytes": { N: String(bytes) },
      },
    },
  };
}

export function putNew(row: Row): TransactWriteItem {
  return { Put: { TableName: "", Item: row, ConditionExpression: "attribute_not_exists(pk)" } };
}

export function requestRows(request: StoredRequest | undefined, time: string): readonly Row[] {
  if (request === undefined) return [];
  const expires = Math.floor(Date.parse(time) / 1_000) + REQUEST_KEPT_S;
  return toRows(requestPk(request.token), "request", request, { expires: { N: String(expires) } });
}

/** `undefined` where a change is missing: each says which revision it follows. */
export function changesFrom(rows: readonly Row[], revision: number): readonly LoggedChange[] | undefined {
  const changes: LoggedChange[] = [];
  let last = revision;
  for (const document of documentsOf(rows)) {
    const change = fromRows<LoggedChange>(document);
    if (change.baseRevision !== last) return undefined;
    changes.push(change);
    last = change.revision;
  }
  return changes;
}

/** What is forgotten is kept for longer than its signatures live, and then removed by the table. */
const FORGOTTEN_KEPT_S = 600;

export function memberRow({ cluster, member, sequence, status }: StoredMember): Row {
  const seq = { N: String(sequence) };
  const key = keyOf({ pk: memberPk(cluster), sk: memberSk(cluster, member) });
  return status === undefined
    ? { ...key, seq, expires: { N: String(Math.ceil(sequence / 1_000) + FORGOTTEN_KEPT_S) } }
    : { ...key, seq, ...statusValue(JSON.stringify(status)) };
}

/** An item has at most 400 KB, and every KB of one is paid for: what a member with thousands of listeners tells is packed. */
const MAX_PLAIN_LENGTH = 16_384;

function statusValue(text: string): Row {
  return text.length > MAX_PLAIN_LENGTH ? { packed: { B: gzipSync(text) } } : { value: { S: text } };
}

export function memberOf(row: Row): StoredMember {
  const [cluster = "", member = ""] = (row["sk"]?.S ?? "").split("/");
  const stored = { cluster, member, sequence: Number(row["seq"]?.N ?? 0) };
  const packed = row["packed"]?.B;
  const text = packed === undefined ? row["value"]?.S : gunzipSync(packed).toString("utf8");
  return text === undefined ? stored : { ...stored, status: JSON.parse(text) as MemberStatus };
}
