/** What a decision may ask of a request, whatever protocol it came by. Valid only while the decision is made. */
export interface RequestView {
  readonly method: string;
  /** Host or `:authority`, lower case. */
  readonly authority: string;
  /** Path and query, as sent. */
  readonly target: string;
  /** A field's value, several joined by a comma; the name in lower case. */
  header(name: string): string | undefined;
}

export function pathOf(target: string): string {
  const query = target.indexOf("?");
  return query === -1 ? target : target.slice(0, query);
}

/** `?a=b`, or empty. */
export function queryOf(target: string): string {
  const query = target.indexOf("?");
  return query === -1 ? "" : target.slice(query);
}

/** The first value of a query parameter, decoded; what cannot be decoded is taken as it stands. */
export function queryParam(target: string, name: string): string | undefined {
  let at = target.indexOf("?") + 1;
  if (at === 0) return undefined;
  while (at <= target.length) {
    const next = target.indexOf("&", at);
    const end = next === -1 ? target.length : next;
    const equals = target.indexOf("=", at);
    const nameEnd = equals === -1 || equals > end ? end : equals;
    if (decoded(target.slice(at, nameEnd)) === name)
      return decoded(target.slice(Math.min(nameEnd + 1, end), end));
    at = end + 1;
  }
  return undefined;
}

function decoded(text: string): string {
  if (!text.includes("%") && !text.includes("+")) return text;
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return text;
  }
}
