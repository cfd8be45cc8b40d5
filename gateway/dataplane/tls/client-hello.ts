/**
 * Reads which host a TLS client wants from its first message (RFC 8446 §4.1.2, SNI: RFC 6066 §3), without terminating TLS.
 * Strict: one reading, every length checked before it is used, nothing that a real client does not send.
 */
export type ClientHelloOutcome =
  | { readonly kind: "need-more" }
  /** The first byte already says so. */
  | { readonly kind: "not-tls" }
  | { readonly kind: "invalid"; readonly detail: string }
  | {
      readonly kind: "hello";
      /** As sent; `undefined`: no SNI. */
      readonly serverName: string | undefined;
      /** An encrypted ClientHello (or its forerunner ESNI) may name another host than SNI does. */
      readonly hidden: boolean;
    };

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const MAX_RECORD = 16_384;
/** Of a whole ClientHello; the largest that browsers send with post-quantum key shares is about 2 KiB. */
export const MAX_HELLO = 16_384;
const SERVER_NAME = 0;
const ENCRYPTED_CLIENT_HELLO = 0xfe0d;
const ESNI = 0xffce;
const HOST_NAME = 0;
const MAX_NAME = 255;

const NEED_MORE: ClientHelloOutcome = { kind: "need-more" };
const NOT_TLS: ClientHelloOutcome = { kind: "not-tls" };

export function parseClientHello(bytes: Buffer): ClientHelloOutcome {
  if (bytes.length === 0) return NEED_MORE;
  if (bytes[0] !== HANDSHAKE) return NOT_TLS;
  const message = handshakeBytes(bytes);
  if (!Buffer.isBuffer(message)) return message;
  if (message.length < 4) return NEED_MORE;
  if (message[0] !== CLIENT_HELLO) return invalid("the first handshake message is no ClientHello");
  const length = message.readUIntBE(1, 3);
  if (length > MAX_HELLO) return invalid(`a ClientHello of ${length} bytes`);
  if (message.length < 4 + length) return NEED_MORE;
  return readHello(new Cursor(message.subarray(4, 4 + length)));
}

function invalid(detail: string): ClientHelloOutcome {
  return { kind: "invalid", detail };
}

/** The handshake bytes of all complete records, and of the last one as far as it came: a hello may span several. */
function handshakeBytes(bytes: Buffer): Buffer | ClientHelloOutcome {
  const parts: Buffer[] = [];
  let at = 0;
  let sum = 0;
  while (at + 5 <= bytes.length && sum <= MAX_HELLO + 4) {
    if (bytes[at] !== HANDSHAKE) return invalid("another record inside the ClientHello");
    if (bytes[at + 1] !== 3) return invalid("no TLS version");
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > MAX_RECORD) return invalid(`a record of ${length} bytes`);
    const part = bytes.subarray(at + 5, at + 5 + length);
    parts.push(part);
    sum += part.length;
    if (part.length < length) break;
    if (isWhole(parts, sum)) break;
    at += 5 + length;
  }
  return parts.length === 1 ? (parts[0] ?? Buffer.alloc(0)) : Buffer.concat(parts);
}

function isWhole(parts: readonly Buffer[], sum: number): boolean {
  if (sum < 4) return false;
  const head = Buffer.concat(parts).subarray(0, 4);
  return sum >= 4 + head.readUIntBE(1, 3);
}

/** Reads within one message; `failed` once something did not fit, after which everything reads as empty. */
class Cursor {
  failed = false;
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.failed ? 0 : this.#bytes.length - this.#at;
  }

  number(size: 1 | 2): number {
    return this.take(size).readUIntBE(0, size);
  }

  /** `size` bytes; zeros where there are not so many. */
  take(size: number): Buffer {
    if (size > this.left) {
      this.failed = true;
      return Buffer.alloc(size);
    }
    this.#at += size;
    return this.#bytes.subarray(this.#at - size, this.#at);
  }

  /** A vector whose length stands before it, in so many bytes. */
  vector(lengthSize: 1 | 2): Cursor {
    const length = this.number(lengthSize);
    if (length > this.left) this.failed = true;
    return new Cursor(this.failed ? Buffer.alloc(0) : this.take(length));
  }
}

function readHello(hello: Cursor): ClientHelloOutcome {
  const major = hello.number(2) >> 8;
  hello.take(32);
  const session = hello.vector(1).left;
  const suites = hello.vector(2).left;
  const compression = hello.vector(1).left;
  if (hello.failed || major !== 3 || session > 32 || suites < 2 || suites % 2 !== 0 || compression < 1)
    return invalid("a malformed ClientHello");
  // TLS 1.2 clients may leave the extensions out.
  if (hello.left === 0) return { kind: "hello", serverName: undefined, hidden: false };
  const extensions = hello.vector(2);
  if (hello.failed || hello.left > 0) return invalid("bytes behind the ClientHello's extensions");
  return readExtensions(extensions);
}

function readExtensions(extensions: Cursor): ClientHelloOutcome {
  const seen = new Set<number>();
  let serverName: string | undefined;
  while (extensions.left > 0) {
    const type = extensions.number(2);
    const data = extensions.vector(2);
    if (extensions.failed) return invalid("a truncated extension");
    if (seen.has(type)) return invalid("an extension occurs twice");
    seen.add(type);
    if (type !== SERVER_NAME) continue;
    const name = readServerName(data);
    if (name === undefined) return invalid("a malformed server_name extension");
    serverName = name;
  }
  return { kind: "hello", serverName, hidden: seen.has(ENCRYPTED_CLIENT_HELLO) || seen.has(ESNI) };
}

/** Exactly one host name: a second entry would be a second answer to the same question. */
function readServerName(data: Cursor): string | undefined {
  const list = data.vector(2);
  if (data.failed || data.left > 0) return undefined;
  const type = list.number(1);
  const name = list.vector(2);
  if (list.failed || list.left > 0 || type !== HOST_NAME || name.left < 1 || name.left > MAX_NAME)
    return undefined;
  const text = name.take(name.left).toString("latin1");
  return /^[!-~]+$/.test(text) ? text : undefined;
}
