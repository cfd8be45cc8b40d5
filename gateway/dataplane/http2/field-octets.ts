/** Which octets HTTP/2 allows in field names and values (RFC 9113 §8.2.1, RFC 9110 §5.6.2). */

const IS_NAME = nameTable();

function nameTable(): Uint8Array {
  const table = new Uint8Array(256);
  for (const char of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") table[char.charCodeAt(0)] = 1;
  return table;
}

/** Lower-case token; of the pseudo-header fields only their form is judged here. */
export function isLegalName(name: string): boolean {
  const { length } = name;
  let at = name.charCodeAt(0) === 0x3a ? 1 : 0;
  if (at === length) return false;
  for (; at < length; at++) if (IS_NAME[name.charCodeAt(at)] !== 1) return false;
  return true;
}

/** Its grammar has spaces anywhere, and gRPC's libraries send them ("not found: " of nothing) as they take them (PROTOCOL-HTTP2). */
const GRPC_MESSAGE = "grpc-message";

/** No NUL, CR, LF or other control character but HTAB, no white space at either end. */
export function isLegalValue(name: string, value: string): boolean {
  const { length } = value;
  if (length === 0) return true;
  const hasBlankEnd = isBlank(value.charCodeAt(0)) || isBlank(value.charCodeAt(length - 1));
  if (hasBlankEnd && name !== GRPC_MESSAGE) return false;
  for (let at = 0; at < length; at++) {
    const octet = value.charCodeAt(at);
    if ((octet < 0x20 && octet !== 0x09) || octet === 0x7f) return false;
  }
  return true;
}

function isBlank(octet: number): boolean {
  return octet === 0x20 || octet === 0x09;
}
