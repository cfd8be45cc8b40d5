/** HTTP/2 frames as bytes (RFC 9113), for peers that do what no library lets them do. */
export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const END_STREAM = 1;
export const END_HEADERS = 4;

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export function settings(): Buffer {
  return frame(FRAME.settings, 0, 0);
}

export function resetStream(stream: number, code = 8): Buffer {
  return frame(FRAME.reset, 0, stream, uint32(code));
}

/** HPACK without tables or Huffman: a literal field, its name from the static table or spelled out. */
function field(name: string, value: string): Buffer {
  const known = { ":authority": 1, ":method": 2 }[name];
  const named = known === undefined ? Buffer.concat([Buffer.of(0), text(name)]) : Buffer.of(known);
  return Buffer.concat([named, text(value)]);
}

/** A string literal of up to 126 + 127 * 127 bytes. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value, "latin1");
  if (bytes.length < 127) return Buffer.concat([Buffer.of(bytes.length), bytes]);
  const rest = bytes.length - 127;
  return Buffer.concat([Buffer.of(127, 128 | (rest & 127), rest >> 7), bytes]);
}

export function connectFields(authority: string, extra: Readonly<Record<string, string>> = {}): Buffer {
  const fields = { ":method": "CONNECT", ":authority": authority, ...extra };
  return Buffer.concat(Object.entries(fields).map(([name, value]) => field(name, value)));
}

export function connectStream(stream: number, fields: Buffer): Buffer {
  return frame(FRAME.headers, END_HEADERS, stream, fields);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
