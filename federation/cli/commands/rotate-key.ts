import { API_VERSION } from "../../model/resource.ts";
import { ok } from "../../model/result.ts";
import { connect } from "../connection.ts";
import { EXIT } from "../exit.ts";
import { type Command, hint } from "../invocation.ts";
import { renderAge } from "../output/duration.ts";
import { isData, renderData } from "../output/format.ts";
import { renderTable } from "../output/table.ts";

export const rotateKey: Command = async (invocation) => {
  const { terminal, flags, format } = invocation;
  const connected = await connect(invocation);
  if (!connected.ok) return connected;
  const compromised = flags.has("compromised");
  const dryRun = flags.has("dryRun");
  const answer = await connected.value.registry.rotateSigningKey({ compromised, dryRun });
  if (!answer.ok) return answer;
  const { keys, signsFrom } = answer.value;
  if (isData(format)) {
    terminal.out(renderData(format, { apiVersion: API_VERSION, kind: "KeyRotation", ...answer.value }));
    return ok(EXIT.yes);
  }
  const rows = keys.map(({ kid, phase, since }) => [kid, phase, renderAge(since, terminal.now())]);
  terminal.out(renderTable(["KEY", "PHASE", "SINCE"], rows));
  hint(invocation, "note", noteOf({ compromised, dryRun, signsFrom }));
  if (!dryRun) hint(invocation, "undo", `there is none; ${terminal.program} registry rotate-key again`);
  return ok(EXIT.yes);
};

function noteOf(about: {
  readonly compromised: boolean;
  readonly dryRun: boolean;
  readonly signsFrom: string | undefined;
}): string {
  const { compromised, dryRun, signsFrom } = about;
  if (dryRun) return compromised ? "these would be replaced at once" : "one more would be announced";
  if (signsFrom !== undefined) return `the new key signs from ${signsFrom}; members know it by then`;
  return "tokens that were issued before are void: issue them again";
}
