import { API_VERSION } from "../model/resource.ts";
import { diffText, type TextDelta } from "../model/text-delta.ts";
import type { SnapshotDelta } from "../model/wire/snapshot-delta.ts";
import type { JwsParts } from "../trust/index.ts";

/** A delta that is not at least this much smaller than the whole is not worth a second form. */
const WORTH = 0.5;
/** What base64url makes of a byte. */
const ENCODED = 4 / 3;

/** What turns one signed snapshot into another; `undefined` where the whole is the better answer. */
export function makeDelta(
  before: { readonly revision: number; readonly jws: JwsParts },
  after: { readonly revision: number; readonly jws: JwsParts },
): string | undefined {
  const { header, payload, signature } = after.jws;
  const delta: SnapshotDelta = {
    apiVersion: API_VERSION,
    kind: "SnapshotDelta",
    from: before.revision,
    to: after.revision,
    header,
    patch: diffDated(before.jws.payload.toString(), payload.toString()),
    signature,
  };
  const text = JSON.stringify(delta);
  return text.length < payload.length * ENCODED * WORTH ? text : undefined;
}

/** What stands last is new in every revision: set apart, it keeps the diff from looking at all that stands before it. */
const DATE = ',"revision":';

function diffDated(before: string, after: string): TextDelta {
  const [oldEnd, end] = [before, after].map((text) => Math.max(0, text.lastIndexOf(DATE)));
  const parts = diffText(before.slice(0, oldEnd), after.slice(0, end));
  const last = parts.at(-1);
  const date = after.slice(end);
  return typeof last === "string" ? [...parts.slice(0, -1), last + date] : [...parts, date];
}
