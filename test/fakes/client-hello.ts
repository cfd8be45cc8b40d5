export interface ClientHelloOptions {
  readonly serverName?: string;
  readonly extensions?: readonly (readonly [type: number, data: Buffer])[];
  /** Bytes of handshake in each record. */
  readonly recordBytes?: number;
}

/** A ClientHello as a TLS 1.3 client sends it, right or wrong (RFC 8446 §4.1.2). */
export function clientHello({
  serverName,
  extensions = [],
  recordBytes = 16_384,
}: ClientHelloOptions): Buffer {
  const named = serverName === undefined ? [] : [[0, sni(serverName)] as const];
  const versions = [43, Buffer.from([2, 3, 4])] as const;
  const encoded = [...named, versions, ...extensions].map(([type, data]) =>
    Buffer.concat([uint16(type), vector16(data)]),
  );
  const body = Buffer.concat([
    uint16(0x0303),
    Buffer.alloc(32, 7),
    Buffer.from([0]),
    vector16(Buffer.from([0x13, 0x01])),
    Buffer.from([1, 0]),
    vector16(Buffer.concat(encoded)),
  ]);
  const message = Buffer.concat([
    Buffer.from([1, body.length >> 16, (body.length >> 8) & 255, body.length & 255]),
    body,
  ]);
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += recordBytes)
    records.push(Buffer.concat([Buffer.from([22, 3, 1]), vector16(message.subarray(at, at + recordBytes))]));
  return Buffer.concat(records);
}

function sni(name: string): Buffer {
  const entry = Buffer.concat([Buffer.from([0]), vector16(Buffer.from(name, "latin1"))]);
  return vector16(entry);
}

clientHello.sni = sni;

function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255]);
}

function vector16(data: Buffer): Buffer {
  return Buffer.concat([uint16(data.length), data]);
}
