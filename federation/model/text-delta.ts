/**
 * How one text becomes another: what to copy from the old one, and what is new. It knows nothing of what the texts say,
 * so that snapshots may hold what they like; whoever applies it proves the outcome by a signature over the whole.
 */
export type TextDelta = readonly (string | readonly [offset: number, length: number])[];

/** Shorter copies cost more than they save. */
const MIN_COPY = 16;

/** Linear in the length of both; small where the texts differ in few of their parts. */
export function diffText(before: string, after: string): TextDelta {
  const prefix = commonPrefix(before, after);
  const suffix = commonSuffix(before, after, prefix);
  const parts = new DeltaBuilder();
  parts.copy(0, prefix);
  const oldMiddle = before.slice(prefix, before.length - suffix);
  const newMiddle = after.slice(prefix, after.length - suffix);
  diffMiddle(oldMiddle, newMiddle, prefix, parts);
  parts.copy(before.length - suffix, suffix);
  return parts.finish(before);
}

/** `undefined` where it asks for what the old text has not. */
export function patchText(before: string, delta: TextDelta, maxLength: number): string | undefined {
  const parts: string[] = [];
  let total = 0;
  for (const part of delta) {
    if (typeof part === "string") parts.push(part);
    else {
      const [offset, length] = part;
      if (offset + length > before.length) return undefined;
      parts.push(before.slice(offset, offset + length));
    }
    total += parts.at(-1)?.length ?? 0;
    if (total > maxLength) return undefined;
  }
  return parts.join("");
}

/** Piece by piece of what JSON puts side by side: a piece that was there before is copied, wherever it was. */
function diffMiddle(before: string, after: string, base: number, parts: DeltaBuilder): void {
  const known = new Map<string, number>();
  let offset = base;
  for (const piece of pieces(before)) {
    if (!known.has(piece)) known.set(piece, offset);
    offset += piece.length;
  }
  const end = base + before.length;
  for (const piece of pieces(after)) {
    const next = parts.nextOffset;
    const goesOn = next !== undefined && next + piece.length <= end && before.startsWith(piece, next - base);
    const at = goesOn ? next : known.get(piece);
    if (at === undefined) parts.insert(piece);
    else parts.copy(at, piece.length);
  }
}

function pieces(text: string): readonly string[] {
  return text.match(/[^}\]]*[}\]]+,?|[^}\]]+$/g) ?? [];
}

const BLOCK = 1_024;

function commonPrefix(a: string, b: string): number {
  const limit = Math.min(a.length, b.length);
  let length = 0;
  // Block by block first: comparing them is a hundred times as fast as looking at each character.
  while (length + BLOCK <= limit && a.slice(length, length + BLOCK) === b.slice(length, length + BLOCK))
    length += BLOCK;
  while (length < limit && a.charCodeAt(length) === b.charCodeAt(length)) length += 1;
  return length;
}

function commonSuffix(a: string, b: string, prefix: number): number {
  const limit = Math.min(a.length, b.length) - prefix;
  let length = 0;
  const block = (text: string): string => text.slice(text.length - length - BLOCK, text.length - length);
  while (length + BLOCK <= limit && block(a) === block(b)) length += BLOCK;
  while (length < limit && a.charCodeAt(a.length - 1 - length) === b.charCodeAt(b.length - 1 - length))
    length += 1;
  return length;
}

class DeltaBuilder {
  readonly #parts: (string | [number, number])[] = [];

  /** Where the copy that was added last would go on. */
  get nextOffset(): number | undefined {
    const last = this.#parts.at(-1);
    return last === undefined || typeof last === "string" ? undefined : last[0] + last[1];
  }

  copy(offset: number, length: number): void {
    if (length === 0) return;
    const last = this.#parts.at(-1);
    if (last !== undefined && typeof last !== "string" && last[0] + last[1] === offset) last[1] += length;
    else this.#parts.push([offset, length]);
  }

  insert(text: string): void {
    const last = this.#parts.length - 1;
    const before = this.#parts[last];
    if (typeof before === "string") this.#parts[last] = before + text;
    else this.#parts.push(text);
  }

  /** Short copies between new text become new text. */
  finish(before: string): TextDelta {
    const merged: (string | [number, number])[] = [];
    for (const part of this.#parts) {
      const text = typeof part === "string" ? part : shortText(before, part);
      const last = merged.at(-1);
      if (text === undefined) merged.push(part);
      else if (typeof last === "string") merged[merged.length - 1] = last + text;
      else merged.push(text);
    }
    return merged;
  }
}

function shortText(before: string, [offset, length]: readonly [number, number]): string | undefined {
  return length < MIN_COPY ? before.slice(offset, offset + length) : undefined;
}
