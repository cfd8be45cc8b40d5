import type { AppliedResource } from "../../model/resource.ts";
import { decodeAppliedResource } from "../../model/wire/resource.ts";
import { isRecord, parseDocuments, type SourceObject } from "./documents.ts";
import type { Mistake } from "./mistake.ts";

export interface ReadResources {
  readonly resources: readonly LocatedResource[];
  readonly mistakes: readonly Mistake[];
}

export interface LocatedResource {
  readonly resource: AppliedResource;
  readonly source: SourceObject;
}

/** `beside`: kinds that the file may hold too, and that are left out. */
export function readResources(file: string, text: string, beside: readonly string[] = []): ReadResources {
  const parsed = parseDocuments(file, text);
  const isLeftOut = ({ value }: SourceObject): boolean =>
    isRecord(value) && typeof value["kind"] === "string" && beside.includes(value["kind"]);
  const decoded = decodeResources(parsed.objects.filter((object) => !isLeftOut(object)));
  return { resources: decoded.resources, mistakes: [...parsed.mistakes, ...decoded.mistakes] };
}

export function decodeResources(objects: readonly SourceObject[]): ReadResources {
  const resources: LocatedResource[] = [];
  const mistakes: Mistake[] = [];
  const seen = new Set<string>();
  for (const source of objects) {
    const decoded = decodeAppliedResource(source.value);
    if (!decoded.ok) {
      mistakes.push(...decoded.error.map(source.mistake));
      continue;
    }
    const name = resourceName(decoded.value);
    if (seen.has(name))
      mistakes.push(source.mistake({ path: "metadata", message: `${name} is given twice` }));
    seen.add(name);
    resources.push({ resource: decoded.value, source });
  }
  return { resources, mistakes };
}

/** `serviceexport/east/shop/cart`: the name that `-o name` prints and `delete` takes. */
export function resourceName(resource: {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly cluster?: string; readonly namespace?: string };
}): string {
  const { cluster, namespace, name } = resource.metadata;
  return [resource.kind.toLowerCase(), cluster, namespace, name]
    .filter((part) => part !== undefined)
    .join("/");
}
