import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { fileURLToPath } from "node:url";
import type { AmbientRule, ImportRule } from "./rules.ts";
import { type ImportOf, importsOf, maskSource } from "./source.ts";

export interface SourceFile {
  /** From the root of the repository, with `/`. */
  readonly path: string;
  readonly text: string;
}

export interface Edge extends ImportOf {
  /** A path of ours, `node:…`, or the name of a package. */
  readonly target: string;
  readonly kind: "ours" | "node" | "package";
}

export type Graph = ReadonlyMap<string, readonly Edge[]>;

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** What git does not keep either. */
const SKIPPED = new Set([".git", "node_modules", "dist", ".cache", "coverage", ".isthmus"]);

/** Every file of the repository by its path from the root. Git is not asked: an unpacked archive is tested as well. */
export function listFiles(folder = ""): string[] {
  return readdirSync(ROOT + folder, { withFileTypes: true }).flatMap((entry) => {
    if (SKIPPED.has(entry.name)) return [];
    const path = posix.join(folder, entry.name);
    if (entry.isDirectory()) return listFiles(path);
    return entry.isFile() ? [path] : [];
  });
}

export function readSource(path: string): SourceFile {
  return { path, text: readFileSync(ROOT + path, "utf8") };
}

export function isTest(path: string): boolean {
  return path.startsWith("test/") || path.endsWith(".test.ts") || path === "vitest.config.ts";
}

export function graphOf(files: readonly SourceFile[]): Graph {
  return new Map(
    files.map((file) => [file.path, importsOf(file.text).map((one) => resolve(file.path, one))]),
  );
}

function resolve(from: string, found: ImportOf): Edge {
  const { specifier } = found;
  if (specifier.startsWith("."))
    return { ...found, kind: "ours", target: posix.join(posix.dirname(from), specifier) };
  if (specifier.startsWith("node:")) return { ...found, kind: "node", target: specifier };
  const parts = specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1);
  return { ...found, kind: "package", target: parts.join("/") };
}

const within = (path: string, places: readonly string[]): boolean =>
  places.some((place) => (place.endsWith("/") ? path.startsWith(place) : path === place));

function nodeMatches(target: string, names: readonly string[]): boolean {
  return names.some((name) => name === "node:*" || name === target);
}

function breaks(rule: ImportRule, edge: Edge): boolean {
  if (within(edge.target, rule.except ?? [])) return false;
  if (edge.kind === "node") return nodeMatches(edge.target, rule.neverNode ?? []);
  if (edge.kind === "package") return rule.packages !== undefined && !rule.packages.includes(edge.target);
  if (edge.dynamic && rule.dynamicAllowed === true) return false;
  return (
    within(edge.target, rule.never ?? []) || (rule.only !== undefined && !within(edge.target, rule.only))
  );
}

/** One line for every import that a rule forbids. */
export function brokenImports(graph: Graph, rules: readonly ImportRule[]): string[] {
  return rules.flatMap((rule) =>
    [...graph]
      .filter(([path]) => within(path, rule.from) && !within(path, rule.outside ?? []))
      .flatMap(([path, edges]) =>
        edges
          .filter((edge) => breaks(rule, edge))
          .map((edge) => `${path} imports ${edge.target}: ${rule.because}`),
      ),
  );
}

/** Packages that are imported but not in `names`: what is missing after an install without development packages. */
export function strangePackages(graph: Graph, names: readonly string[]): string[] {
  return [...graph].flatMap(([path, edges]) =>
    edges
      .filter((edge) => edge.kind === "package" && !names.includes(edge.target))
      .map((edge) => `${path} imports ${edge.target}, which is no dependency`),
  );
}

/** Imports of ours that lead nowhere. */
export function missingTargets(graph: Graph, exists: (path: string) => boolean): string[] {
  return [...graph].flatMap(([path, edges]) =>
    edges
      .filter((edge) => edge.kind === "ours" && !exists(edge.target))
      .map((edge) => `${path} imports ${edge.target}, which does not exist`),
  );
}

/**
 * Circles of static imports. Two files of one folder may know each other's types (a connection and its streams do); between
 * folders types count as well, because there they say who depends on whom.
 */
export function cycles(graph: Graph): string[] {
  const counts = (path: string, edge: Edge) =>
    edge.kind === "ours" &&
    !edge.dynamic &&
    !(edge.typeOnly && posix.dirname(path) === posix.dirname(edge.target));
  const found: string[] = [];
  const done = new Set<string>();
  const trail: string[] = [];
  const visit = (path: string): void => {
    const start = trail.indexOf(path);
    if (start !== -1) {
      found.push([...trail.slice(start), path].join(" → "));
      return;
    }
    if (done.has(path)) return;
    trail.push(path);
    for (const edge of graph.get(path) ?? []) if (counts(path, edge)) visit(edge.target);
    trail.pop();
    done.add(path);
  };
  for (const path of graph.keys()) visit(path);
  return found;
}

/** One line for every use of a global outside the places where it is allowed. */
export function brokenAmbients(files: readonly SourceFile[], rules: readonly AmbientRule[]): string[] {
  return files.flatMap((file) => {
    const masked = maskSource(file.text);
    const name = posix.basename(file.path);
    return rules
      .filter((rule) => !within(file.path, rule.edges) && !rule.edges.includes(name))
      .flatMap((rule) =>
        [...masked.matchAll(rule.pattern)].map((match) => {
          const line = masked.slice(0, match.index).split("\n").length;
          return `${file.path}:${line} uses ${match[0]}: ${rule.because}`;
        }),
      );
  });
}
