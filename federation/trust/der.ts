/**
 * A strict DER reader for what strangers send. forge's own reader accepts BER, copies everything into strings and loses
 * the exact bytes that were signed; here a node is two views of the input, and every deviation from DER is an error, so
 * that one certificate has one reading. Nesting depth is the caller's: nothing here recurses.
 */
export interface DerNode {
  /** The identifier octet; high tag numbers do not occur in what we read. */
  readonly tag: number;
  /** The whole element. */
  readonly bytes: Buffer;
  /** Its contents. */
  readonly body: Buffer;
}

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Thrown inside parsers only; each parser's entry turns it into a value. */
export class DerError extends Error {}

/** The one element that is all of `input`. */
export function readDer(input: Buffer): DerNode {
  const node = readAt(input, 0);
  if (node.bytes.length !== input.length) throw new DerError("bytes after the end of the element");
  return node;
}

/** The elements inside a constructed one. */
export function children(node: DerNode): DerNode[] {
  if ((node.tag & 0x20) === 0) throw new DerError("a primitive element where a constructed one belongs");
  const nodes: DerNode[] = [];
  for (let offset = 0; offset < node.body.length; ) {
    const child = readAt(node.body, offset);
    nodes.push(child);
    offset += child.bytes.length;
  }
  return nodes;
}

/** `node`, if it is there and has this tag. */
export function expect(node: DerNode | undefined, tag: number, what: string): DerNode {
  if (node === undefined || node.tag !== tag) throw new DerError(`${what} is missing or of another type`);
  return node;
}

function readAt(input: Buffer, offset: number): DerNode {
  const tag = input[offset];
  const first = input[offset + 1];
  if (tag === undefined || first === undefined) throw new DerError("cut off in an element's header");
  if ((tag & 0x1f) === 0x1f) throw new DerError("high tag number");
  let start = offset + 2;
  let length = first;
  if (first >= 0x80) {
    const octets = first & 0x7f;
    if (octets === 0) throw new DerError("indefinite length");
    if (octets > 3 || start + octets > input.length) throw new DerError("length out of bounds");
    length = input.readUIntBE(start, octets);
    start += octets;
    if (length < 0x80 || length < 2 ** (8 * (octets - 1)))
      throw new DerError("length not in its shortest form");
  }
  const end = start + length;
  if (end > input.length) throw new DerError("cut off in an element's contents");
  return { tag, bytes: input.subarray(offset, end), body: input.subarray(start, end) };
}

export function readBoolean(node: DerNode): boolean {
  const value = node.body[0];
  if (node.body.length !== 1 || (value !== 0 && value !== 0xff)) throw new DerError("a boolean not in DER");
  return value === 0xff;
}

/** Contents of an integer: shortest form, two's complement. */
export function readInteger(node: DerNode | undefined, what: string): Buffer {
  const { body } = expect(node, TAG.integer, what);
  const [first, second] = body;
  if (first === undefined) throw new DerError(`${what} is empty`);
  if (second !== undefined && (first === 0 || first === 0xff) && first >> 7 === second >> 7) {
    throw new DerError(`${what} is not in its shortest form`);
  }
  return body;
}

/** A small integer that is not negative, such as a version or a path length. */
export function readSmallInteger(node: DerNode | undefined, what: string): number {
  const body = readInteger(node, what);
  const [value] = body;
  if (body.length !== 1 || value === undefined || value > 0x7f) throw new DerError(`${what} is out of range`);
  return value;
}

/** Bits as bytes; `unused` trailing bits of the last byte are zero, as DER has it. */
export function readBitString(node: DerNode | undefined, what: string): { bits: Buffer; unused: number } {
  const { body } = expect(node, TAG.bitString, what);
  const unused = body[0];
  if (unused === undefined || unused > 7 || (body.length === 1 && unused !== 0)) {
    throw new DerError(`${what} is not a bit string`);
  }
  const last = body[body.length - 1] ?? 0;
  if (body.length > 1 && (last & ((1 << unused) - 1)) !== 0) throw new DerError(`${what} has stray bits`);
  return { bits: body.subarray(1), unused };
}

const UTC_TIME = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;
const GENERALIZED_TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;

/** RFC 5280 §4.1.2.5: seconds and Z are there, and UTCTime is used through 2049. */
export function readTime(node: DerNode | undefined): number {
  const utc = node?.tag === TAG.utcTime;
  if (node === undefined || (!utc && node.tag !== TAG.generalizedTime))
    throw new DerError("a time is missing");
  const match = (utc ? UTC_TIME : GENERALIZED_TIME).exec(node.body.toString("latin1"));
  if (match === null) throw new DerError("a time is malformed");
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  const fullYear = utc ? (year < 50 ? 2000 + year : 1900 + year) : year;
  if (!utc && fullYear < 2050) throw new DerError("a time before 2050 is not UTCTime");
  const ms = Date.UTC(fullYear, month - 1, day, hour, minute, second);
  const back = new Date(ms);
  // Date.UTC carries over: 31 June would become 1 July.
  if (
    back.getUTCMonth() !== month - 1 ||
    back.getUTCDate() !== day ||
    hour > 23 ||
    minute > 59 ||
    second > 59
  ) {
    throw new DerError("a time that no calendar has");
  }
  return ms;
}
