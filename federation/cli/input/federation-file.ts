import type { AppliedResource } from "../../model/resource.ts";
import { decodeLocalFederation, type LocalFederation } from "../../model/wire/local-federation.ts";
import { crossCheck } from "./cross-check.ts";
import { isRecord, parseDocuments, type SourceObject } from "./documents.ts";
import { FileIndex } from "./file-index.ts";
import type { Mistake } from "./mistake.ts";
import { decodeResources } from "./resource-file.ts";

/** What `isthmus up -f` starts. */
export interface FederationFile {
  readonly federation: LocalFederation;
  readonly resources: readonly AppliedResource[];
}

export interface ReadFederation {
  /** Absent when there are mistakes. */
  readonly content?: FederationFile;
  readonly mistakes: readonly Mistake[];
  readonly warnings: readonly Mistake[];
}

/** Reads the whole file: one LocalFederation and any number of exports, imports and policies, in any order. */
export function readFederation(file: string, text: string): ReadFederation {
  const parsed = parseDocuments(file, text);
  const isFederation = ({ value }: SourceObject): boolean =>
    isRecord(value) && (value["kind"] === "LocalFederation" || "clusters" in (spec(value) ?? {}));
  const [source, ...others] = parsed.objects.filter(isFederation);
  const decoded = decodeResources(parsed.objects.filter((object) => !isFederation(object)));
  const mistakes = [...parsed.mistakes, ...decoded.mistakes];
  for (const other of others) {
    mistakes.push(other.mistake({ path: "kind", message: "there is a LocalFederation already" }));
  }
  if (source === undefined) {
    // A syntax error may have swallowed it: then that is the message.
    if (parsed.mistakes.length === 0) mistakes.push(missingFederation(file));
    return { mistakes, warnings: [] };
  }
  const federation = decodeLocalFederation(source.value);
  if (!federation.ok)
    return { mistakes: [...mistakes, ...federation.error.map(source.mistake)], warnings: [] };
  const resources = decoded.resources.map(({ resource }) => resource);
  const warnings: Mistake[] = [];
  const index = new FileIndex(federation.value, resources);
  for (const { resource, source: place } of decoded.resources) {
    const found = crossCheck(resource, index);
    mistakes.push(...found.mistakes.map(place.mistake));
    warnings.push(...found.warnings.map(place.mistake));
  }
  if (mistakes.length > 0) return { mistakes, warnings };
  return { content: { federation: federation.value, resources }, mistakes, warnings };
}

function spec(value: Record<string, unknown>): Record<string, unknown> | undefined {
  return isRecord(value["spec"]) ? value["spec"] : undefined;
}

function missingFederation(file: string): Mistake {
  const message = "one document must be a LocalFederation: it names the clusters to start";
  return { file, line: 1, column: 1, path: "", message };
}
