import { createHash } from "node:crypto";
import { type Problem, problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import type { AuditRecord } from "../model/wire/api.ts";
import { fromStateDocument, type StateDocument, toStateDocument } from "../registry/state-document.ts";
import type { Foundation, RegistryStore } from "../registry/store.ts";
import type { Vault } from "../registry/vault.ts";
import type { FederationState } from "../registry/state.ts";
import { shelfName } from "./key-shelf.ts";
import { storeProblem } from "./keys.ts";

/**
 * A federation as lines of JSON: what it is founded on, its keys, its state, its audit trail, and a last line that tells
 * whether all of them are there as they were written. It holds the private keys: who has it is the federation.
 */
type Line =
  | ({ readonly kind: "RegistryExport"; readonly apiVersion: string } & Foundation)
  | { readonly kind: "Key"; readonly name: string; readonly text: string }
  | { readonly kind: "State"; readonly state: StateDocument }
  | { readonly kind: "Audit"; readonly record: AuditRecord }
  | { readonly kind: "End"; readonly lines: number; readonly sha256: string };

const API_VERSION = "isthmus.dev/v1alpha1";
const KEYS = ["root", "signing"] as const;
const PAGE = 1_000;

/** Keys that sign, or will: what is retired is only verified with, and its private half is gone. */
function rotatedKeys({ signing }: FederationState): readonly string[] {
  return (signing?.keys ?? [])
    .filter(({ phase }) => phase === "active" || phase === "announced")
    .map(({ key }) => shelfName(key.kid));
}

export interface Place {
  readonly store: RegistryStore;
  readonly vault: Vault;
}

export interface Summary {
  readonly federation: string;
  readonly revision: number;
  readonly clusters: number;
  readonly records: number;
}

/** The registry may go on serving meanwhile where its store is shared: what is exported is one revision. */
export async function exportRegistry(
  { store, vault }: Place,
  write: (line: string) => void,
): Promise<Result<Summary, Problem>> {
  const sum = createHash("sha256");
  let lines = 0;
  const put = (line: Line): void => {
    const text = JSON.stringify(line);
    if (line.kind !== "End") sum.update(`${text}\n`);
    lines += 1;
    write(text);
  };
  const foundation = await store.foundation();
  if (!foundation.ok) return err(storeProblem(foundation.error));
  if (foundation.value === undefined)
    return err(problem("state_unusable", "there is no federation in this store"));
  put({ kind: "RegistryExport", apiVersion: API_VERSION, ...foundation.value });
  const state = await store.load();
  if (!state.ok) return err(storeProblem(state.error));
  for (const name of [...KEYS, ...rotatedKeys(state.value)]) {
    const text = await vault.read(name);
    if (!text.ok) return err(storeProblem(text.error));
    if (text.value === undefined) return err(problem("state_unusable", `the key "${name}" is missing`));
    put({ kind: "Key", name, text: text.value });
  }
  put({ kind: "State", state: toStateDocument(state.value) });
  let records = 0;
  for (let after = 0; ; ) {
    const page = await store.audit({ after, limit: PAGE });
    if (!page.ok) return err(storeProblem(page.error));
    const fitting = page.value.filter(({ revision }) => revision <= state.value.revision);
    for (const record of fitting) put({ kind: "Audit", record });
    records += fitting.length;
    after = page.value.at(-1)?.revision ?? after;
    if (page.value.length < PAGE) break;
  }
  put({ kind: "End", lines, sha256: sum.digest("hex") });
  const { federation, revision, clusters } = state.value;
  return ok({ federation, revision, clusters: clusters.size, records });
}

/** Into a store that holds nothing yet; the file is judged whole before anything is written. */
export async function importRegistry(
  { store, vault }: Place,
  text: string,
): Promise<Result<Summary, Problem>> {
  const lines = readLines(text);
  if (!lines.ok) return lines;
  let foundation: Foundation | undefined;
  let document: StateDocument | undefined;
  const keys = new Map<string, string>();
  const audit: AuditRecord[] = [];
  for (const line of lines.value) {
    if (line.kind === "RegistryExport")
      foundation = { federation: line.federation, adminTokenSha256: line.adminTokenSha256 };
    else if (line.kind === "Key") keys.set(line.name, line.text);
    else if (line.kind === "State") document = line.state;
    else if (line.kind === "Audit") audit.push(line.record);
  }
  if (foundation === undefined || document === undefined)
    return err(problem("file_invalid", "the export lacks the foundation or the state"));
  const state = fromStateDocument(document);
  const names = [...KEYS, ...rotatedKeys(state)];
  const absent = names.find((name) => !keys.has(name));
  if (absent !== undefined) return err(problem("file_invalid", `the export lacks the key "${absent}"`));
  const known = await store.foundation();
  if (!known.ok) return err(storeProblem(known.error));
  if (known.value !== undefined)
    return err(problem("state_unusable", `the store holds the federation ${known.value.federation} already`));
  for (const name of names) {
    const wanted = keys.get(name) ?? "";
    const kept = await vault.create(name, wanted);
    if (!kept.ok) return err(storeProblem(kept.error));
    if (kept.value.trim() !== wanted.trim())
      return err(problem("state_unusable", `another key "${name}" lies where the export's should go`));
  }
  const restored = await store.restore({ foundation, state, audit });
  if (!restored.ok) return err(storeProblem(restored.error));
  if (!restored.value)
    return err(problem("state_unusable", "the store was filled by somebody else meanwhile"));
  return ok({
    federation: state.federation,
    revision: state.revision,
    clusters: state.clusters.size,
    records: audit.length,
  });
}

function readLines(text: string): Result<readonly Line[], Problem> {
  const invalid = (detail: string) => err(problem("file_invalid", `the export ${detail}`));
  const texts = text.split("\n").filter((line) => line !== "");
  const sum = createHash("sha256");
  const lines: Line[] = [];
  for (const [index, line] of texts.entries()) {
    try {
      lines.push(JSON.parse(line) as Line);
    } catch {
      return invalid(`has no JSON in line ${index + 1}`);
    }
    if (index < texts.length - 1) sum.update(`${line}\n`);
  }
  const [first, last] = [lines[0], lines.at(-1)];
  if (first?.kind !== "RegistryExport" || first.apiVersion !== API_VERSION)
    return invalid(`is none of ${API_VERSION}`);
  if (last?.kind !== "End" || last.lines !== lines.length - 1) return invalid("was cut short");
  return last.sha256 === sum.digest("hex") ? ok(lines) : invalid("was changed: its checksum does not match");
}
