import { type Failure, fail, renderIssue } from "../failure.ts";
import { connect } from "../connection.ts";
import { ok, type Result } from "../../model/result.ts";
import { failWithMistakes, type Mistake, renderMistake } from "../input/mistake.ts";
import { readInput } from "../input/read-input.ts";
import { type LocatedResource, readResources } from "../input/resource-file.ts";
import { type Command, type Invocation, usage } from "../invocation.ts";
import { applyAndTell } from "./change.ts";

export const apply: Command = async (invocation) => {
  const { terminal } = invocation;
  const read = await readResourceFiles(invocation);
  if (!read.ok) return read;
  const files = invocation.flags.list("file");
  if (files.length === 0) return usage("apply what?", `${terminal.program} apply -f <file>`);
  if (read.value.length === 0) return fail("file_invalid", `${files.join(", ")} holds no resource`);
  const connected = await connect(invocation);
  if (!connected.ok) return connected;
  const resources = read.value.map(({ resource }) => resource);
  const applied = await applyAndTell(invocation, connected.value.registry, resources, [
    `${terminal.program} check`,
  ]);
  return applied.ok ? applied : { ok: false, error: locateIssues(applied.error, read.value) };
};

/** All files are read before anything happens, and the mistakes of all are told at once. */
export async function readResourceFiles(
  invocation: Invocation,
  beside: readonly string[] = [],
): Promise<Result<readonly LocatedResource[], Failure>> {
  const files = invocation.flags.list("file");
  const resources: LocatedResource[] = [];
  const mistakes: Mistake[] = [];
  for (const file of files) {
    const text = await readInput(file, invocation.terminal);
    if (!text.ok) return text;
    const read = readResources(file, text.value, beside);
    resources.push(...read.resources);
    mistakes.push(...read.mistakes);
  }
  return mistakes.length === 0 ? ok(resources) : failWithMistakes(files.join(", "), mistakes);
}

const IN_REQUEST = /^resources\[([0-9]+)\]\.?(.*)$/;

/** The registry complains about `resources[2].spec…` of the request; people wrote a file. */
function locateIssues(failure: Failure, sent: readonly LocatedResource[]): Failure {
  if (failure.issues === undefined) return failure;
  const lines = failure.issues.map((issue) => {
    const match = IN_REQUEST.exec(issue.path);
    const source = sent[Number(match?.[1])]?.source;
    return source === undefined
      ? renderIssue(issue)
      : renderMistake(source.mistake({ ...issue, path: match?.[2] ?? "" }));
  });
  return { ...failure, lines };
}
