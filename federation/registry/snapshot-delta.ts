import { API_VERSION } from "../model/resource.ts";
import { diffText } from "../model/text-delta.ts";
import type { SnapshotDelta } from "../model/wire/snapshot-delta.ts";

/** A delta that is not at least this much smaller than the whole is not worth a second form. */
const WORTH = 0.5;

/** What turns one signed snapshot into another; `undefined` where the whole is the better answer. */
export function makeDelta(
  before: { readonly revision: number; readonly jws: string },
  after: { readonly revision: number; readonly jws: string },
): string | undefined {
  const [header = "", payload = "", signature = ""] = after.jws.split(".");
  const [, oldPayload = ""] = before.jws.split(".");
  const delta: SnapshotDelta = {
    apiVersion: API_VERSION,
    kind: "SnapshotDelta",
    from: before.revision,
    to: after.revision,
    header,
    patch: diffText(textOf(oldPayload), textOf(payload)),
    signature,
  };
  const text = JSON.stringify(delta);
  return text.length < after.jws.length * WORTH ? text : undefined;
}

function textOf(payload: string): string {
  return Buffer.from(payload, "base64url").toString("utf8");
}
