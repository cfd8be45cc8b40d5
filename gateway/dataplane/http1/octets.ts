/**
 * The alphabets of RFC 9110 and 9112 as 256-entry tables: one load per byte decides, where a regular expression per
 * field would cost more than the whole head does now.
 */
export const HTAB = 0x09;
export const LF = 0x0a;
export const CR = 0x0d;
export const SP = 0x20;
export const ASTERISK = 0x2a;
export const HYPHEN = 0x2d;
export const SLASH = 0x2f;
export const ZERO = 0x30;
export const COLON = 0x3a;
export const SEMICOLON = 0x3b;
export const UNDERSCORE = 0x5f;

function alphabet(contains: (octet: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, octet) => (contains(octet) ? 1 : 0));
}

function isAlphanumeric(octet: number): boolean {
  const lower = octet | 0x20;
  return (octet >= 0x30 && octet <= 0x39) || (lower >= 0x61 && lower <= 0x7a);
}

function isOneOf(octet: number, characters: string): boolean {
  return characters.includes(String.fromCharCode(octet));
}

/** tchar: field names, methods. */
export const TOKEN = alphabet((octet) => isAlphanumeric(octet) || isOneOf(octet, "!#$%&'*+-.^_`|~"));

/** Inside a field value: HTAB, SP, VCHAR and obs-text, which passes as latin1. Never CR, LF, NUL or another control. */
export const FIELD_VALUE = alphabet((octet) => octet === HTAB || (octet >= SP && octet !== 0x7f));

/**
 * Inside a request target. Wider than RFC 3986 (clients do send `|`, `{` and `"` unencoded) but never a space, a control
 * byte or non-ASCII; and no `#`, since one side would cut the target there and the other would not.
 */
export const TARGET = alphabet((octet) => octet > SP && octet < 0x7f && !isOneOf(octet, "#"));

/** A registered name or an IPv4 address. Percent-encoding is left out: two names for one host help only an attacker. */
export const HOST_NAME = alphabet((octet) => isAlphanumeric(octet) || isOneOf(octet, "-._"));

/** Inside the brackets of an IPv6 address. Zone identifiers have no meaning on the wire. */
export const IPV6 = alphabet((octet) => isOneOf(octet, "0123456789abcdefABCDEF:."));

export const DIGIT = alphabet((octet) => isOneOf(octet, "0123456789"));

/** The value of a hexadecimal digit; 255 for everything else. */
export const HEX_VALUE = Uint8Array.from({ length: 256 }, (_, octet) => {
  const value = "0123456789abcdef".indexOf(String.fromCharCode(octet).toLowerCase());
  return value === -1 ? 255 : value;
});

/** Lower case, and `_` as `-`: how servers that put fields into environment variables would read a name. */
export const FOLDED = Uint8Array.from({ length: 256 }, (_, octet) => {
  if (octet === UNDERSCORE) return HYPHEN;
  return octet >= 0x41 && octet <= 0x5a ? octet | 0x20 : octet;
});
