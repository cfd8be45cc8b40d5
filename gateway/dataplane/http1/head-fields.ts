/**
 * The fields of a parsed head as a flat [name, value, …] array, names in lower case, in the order sent. Most requests
 * are decided without it, so it is made on demand from the received text, which was validated when it was parsed.
 */
export function headFields(head: { readonly received: string }): readonly string[] {
  const text = head.received;
  const fields: string[] = [];
  let at = text.indexOf("\r\n") + 2;
  while (at < text.length) {
    const colon = text.indexOf(":", at);
    const end = text.indexOf("\r\n", colon);
    fields.push(text.slice(at, colon).toLowerCase(), trimWhiteSpace(text, colon + 1, end));
    at = end + 2;
  }
  return fields;
}

/** The values of one field joined by `, `, or `undefined` where it does not occur. `name` in lower case. */
export function fieldValue(head: { readonly received: string }, name: string): string | undefined {
  const fields = headFields(head);
  let joined: string | undefined;
  for (let index = 0; index < fields.length; index += 2) {
    if (fields[index] === name)
      joined = joined === undefined ? fields[index + 1] : `${joined}, ${fields[index + 1]}`;
  }
  return joined;
}

/** Space and tab only: `trim` would also take a no-break space, which is part of a latin1 value. */
function trimWhiteSpace(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isWhiteSpace(text, start)) start++;
  while (end > start && isWhiteSpace(text, end - 1)) end--;
  return text.slice(start, end);
}

function isWhiteSpace(text: string, at: number): boolean {
  return text[at] === " " || text[at] === "\t";
}
