import { CR, LF } from "./octets.ts";
import type { HeadLimits, HeadOutcome } from "./outcome.ts";
import { parseRequestHead, type RequestHead } from "./request-head.ts";
import type { RequestForms } from "./request-line.ts";

type ParsedHead = HeadOutcome<RequestHead> & { readonly kind: "head" };

interface KnownHead {
  readonly outcome: ParsedHead;
  readonly forms: RequestForms;
  /** Once it came twice. */
  readonly bytes: Buffer | undefined;
}

// Larger ones are rare, and an idle connection holds on to its last.
const MAX_KNOWN_BYTES = 2_048;

/**
 * Reads the request heads of one connection and knows the last one again: clients send the same head over and over, and
 * what follows from its bytes is the same each time, down to the very object.
 */
export class RequestHeadReader {
  readonly #limits: HeadLimits;
  #known: KnownHead | undefined;

  constructor(limits: HeadLimits) {
    this.#limits = limits;
  }

  /** As `parseRequestHead`. */
  read(
    buffer: Buffer,
    start: number,
    end: number,
    scanned: number = start,
    forms: RequestForms = "origin",
  ): HeadOutcome<RequestHead> {
    const known = this.#known;
    if (known?.bytes !== undefined && known.forms === forms && begins(buffer, start, end, known.bytes))
      return known.outcome;
    const outcome = parseRequestHead(buffer, start, end, this.#limits, scanned, forms);
    if (outcome.kind === "head") this.#known = this.#remember(outcome, buffer, start, forms);
    return outcome;
  }

  #remember(outcome: ParsedHead, buffer: Buffer, start: number, forms: RequestForms): KnownHead | undefined {
    const { received, byteLength } = outcome.head;
    if (byteLength > MAX_KNOWN_BYTES) return undefined;
    const isRepeated = this.#known?.forms === forms && this.#known.outcome.head.received === received;
    return { outcome, forms, bytes: isRepeated ? copyOf(buffer, start, byteLength) : undefined };
  }
}

/** Buffers are on loan; a slice of Node's pool would hold all of its 8 KiB. */
function copyOf(buffer: Buffer, start: number, length: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(length);
  buffer.copy(copy, 0, start, start + length);
  return copy;
}

/** A native call for each head would cost clients that never repeat one: first a look at where the head would end. */
function begins(buffer: Buffer, start: number, end: number, bytes: Buffer): boolean {
  const stop = start + bytes.length;
  if (stop > end || buffer[stop - 1] !== LF || buffer[stop - 4] !== CR) return false;
  return buffer.compare(bytes, 0, bytes.length, start, stop) === 0;
}
