import type { HeaderModifier, HeaderValue, PathModifier } from "../../../federation/model/traffic-route.ts";

/** Changes of a head's fields: first what is dropped, then what is added. */
export interface HeadEdits {
  /** Names in lower case. */
  readonly dropped: ReadonlySet<string>;
  readonly added: readonly HeaderValue[];
  /** `added` as HTTP/1.1 writes it. */
  readonly addedText: string;
}

/** Several modifiers, applied one after the other; `undefined` where they change nothing. */
export function compileEdits(modifiers: readonly HeaderModifier[]): HeadEdits | undefined {
  const dropped = new Set<string>();
  let added: HeaderValue[] = [];
  for (const { set = [], add = [], remove = [] } of modifiers) {
    for (const name of [...set.map((field) => field.name), ...remove]) {
      const lower = name.toLowerCase();
      dropped.add(lower);
      added = added.filter((field) => field.name.toLowerCase() !== lower);
    }
    added.push(...set, ...add);
  }
  if (dropped.size === 0 && added.length === 0) return undefined;
  const addedText = added.map(({ name, value }) => `${name}: ${value}\r\n`).join("");
  return { dropped, added, addedText };
}

/** The path after a modifier; `prefix` is what the rule's match took of it. */
export function modifiedPath(modifier: PathModifier, path: string, prefix: string): string {
  if (modifier.type === "ReplaceFullPath") return modifier.replaceFullPath;
  const rest = path.slice(prefix.length);
  const { replacePrefixMatch: replacement } = modifier;
  const head = replacement.endsWith("/") ? replacement.slice(0, -1) : replacement;
  const whole = `${head}${rest}`;
  return whole === "" ? "/" : whole;
}
