import { type Problem, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import { patchText } from "../../federation/model/text-delta.ts";
import { decodeSnapshotDelta } from "../../federation/model/wire/snapshot-delta.ts";

/**
 * The signed snapshot that a delta leads to from the one that is in force. It is not believed yet: whoever takes it
 * verifies its signature as that of any other, and a delta that lacks something, or was meant for another base, fails it.
 */
export function applyDelta(
  text: string,
  base: { readonly revision: number; readonly jws: string },
  maxLength: number,
): Result<string, Problem> {
  const refused = (detail: string) => err(problem("snapshot_malformed", `the delta ${detail}`));
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return refused("is not JSON");
  }
  const decoded = decodeSnapshotDelta(body);
  if (!decoded.ok) return refused(`is malformed: ${decoded.error[0]?.path} ${decoded.error[0]?.message}`);
  const { from, header, patch, signature } = decoded.value;
  if (from !== base.revision) return refused(`begins at revision ${from}, in force is ${base.revision}`);
  const [, payload = ""] = base.jws.split(".");
  const before = Buffer.from(payload, "base64url").toString("utf8");
  const after = patchText(before, patch, maxLength);
  if (after === undefined) return refused("does not fit what is in force");
  return ok(`${header}.${Buffer.from(after).toString("base64url")}.${signature}`);
}
