const STRING_OR_MARK = /"(?:[^"\\]|\\.)*"|[{}[\],:]/g;

/** The first member name that an object of this JSON text has twice. The text is known to parse. */
export function repeatedMember(text: string): string | undefined {
  // One entry per open bracket: the names seen so far in an object, nothing for a list.
  const open: (Set<string> | undefined)[] = [];
  let lastString = "";
  for (const [token] of text.matchAll(STRING_OR_MARK)) {
    if (token === "{") open.push(new Set());
    else if (token === "[") open.push(undefined);
    else if (token === "}" || token === "]") open.pop();
    else if (token === ":") {
      const name: unknown = JSON.parse(lastString);
      const names = open[open.length - 1];
      if (typeof name !== "string" || names === undefined) continue;
      if (names.has(name)) return name;
      names.add(name);
    } else lastString = token;
  }
  return undefined;
}
