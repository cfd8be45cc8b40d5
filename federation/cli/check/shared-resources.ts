import type { Resource, WithStatus } from "../../model/resource.ts";
import { ok, type Result } from "../../model/result.ts";
import { APPLIED_KINDS } from "../../model/wire/resource.ts";
import type { Failure } from "../failure.ts";
import type { RegistryClient } from "../registry-client.ts";

/** What clusters share and how, as the registry judges it. */
export async function readShared(
  registry: Pick<RegistryClient, "list">,
): Promise<Result<readonly WithStatus<Resource>[], Failure>> {
  const answers = await Promise.all(APPLIED_KINDS.map((kind) => registry.list({ kind })));
  const refused = answers.find((answer) => !answer.ok);
  return refused ?? ok(answers.flatMap((answer) => (answer.ok ? answer.value.items : [])));
}
