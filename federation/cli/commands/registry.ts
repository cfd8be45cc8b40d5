import { ok, type Result } from "../../model/result.ts";
import type { Refused, Settings } from "../../runtime/maintenance.ts";
import { EXIT } from "../exit.ts";
import { fail } from "../failure.ts";
import { type Command, hint, type Invocation } from "../invocation.ts";
import { settingsOf } from "./role.ts";

/** Works on the store itself: on SQLite, the registry that has it must not run. */
function load() {
  return import("../../runtime/maintenance.ts");
}

function settings({ flags, terminal }: Invocation): Settings {
  const given = settingsOf(flags);
  return (key) => given[key] ?? terminal.env(key);
}

function refused(result: Extract<Result<unknown, Refused>, { readonly ok: false }>) {
  const { name, detail, issues } = result.error;
  return fail(name, detail, issues === undefined ? {} : { issues });
}

export const exportCommand: Command = async (invocation) => {
  const [file = ""] = invocation.args;
  const { exportTo } = await load();
  const done = await exportTo(settings(invocation), file);
  if (!done.ok) return refused(done);
  const { federation, revision, clusters, records } = done.value;
  invocation.terminal.out(
    `${federation} at revision ${revision}: ${clusters} clusters, ${records} audit records in ${file}`,
  );
  hint(invocation, "note", "it holds the private keys of the federation: keep it where only you can read it");
  hint(
    invocation,
    "next",
    `${invocation.terminal.program} registry import ${file} --state <other directory>`,
  );
  return ok(EXIT.yes);
};

export const importCommand: Command = async (invocation) => {
  const [file = ""] = invocation.args;
  const { importFrom } = await load();
  const done = await importFrom(settings(invocation), file);
  if (!done.ok) return refused(done);
  const { federation, revision, clusters } = done.value;
  invocation.terminal.out(
    `${federation} at revision ${revision} with ${clusters} clusters, same keys: members go on without noticing`,
  );
  hint(invocation, "note", "the admin token is the same one; copy admin.token if this directory lacks it");
  return ok(EXIT.yes);
};

export const migrateCommand: Command = async (invocation) => {
  const { migrate } = await load();
  const done = await migrate(settings(invocation));
  if (!done.ok) return refused(done);
  invocation.terminal.out(`${done.value.store} is ready, at revision ${done.value.revision}`);
  return ok(EXIT.yes);
};

export const recoverCommand: Command = async (invocation) => {
  const { recover } = await load();
  const done = await recover(settings(invocation));
  if (!done.ok) return refused(done);
  const { from, revision } = done.value;
  invocation.terminal.out(`the copy of revision ${from} goes on as revision ${revision}: members accept it`);
  hint(
    invocation,
    "note",
    `changes between ${from} and ${revision} that the copy lacks are lost: apply them again`,
  );
  return ok(EXIT.yes);
};
