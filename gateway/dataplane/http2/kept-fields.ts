const kept = new WeakSet<readonly string[]>();

/**
 * Field lists that come again as the very same object: those of header blocks that a peer has repeated, and what was made of them.
 * Whoever derives something from a list may remember it for these; the others are gone after their message.
 */
export function keepFields<L extends readonly string[]>(fields: L): L {
  kept.add(fields);
  return fields;
}

export function isKept(fields: readonly string[]): boolean {
  return kept.has(fields);
}
