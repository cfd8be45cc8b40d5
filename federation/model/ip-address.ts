import { err, ok, type Result } from "./result.ts";

/**
 * An IP address in its one canonical form: whatever spelling it came in, equal addresses are equal values. An IPv4-mapped
 * IPv6 address *is* the IPv4 address (RFC 4291 §2.5.5.2): a socket would reach the same host.
 */
export interface IpAddress {
  readonly family: 4 | 6;
  readonly value: bigint;
}

/** `prefix` bits of `base` are fixed; the others of `base` are zero. */
export interface Cidr {
  readonly base: IpAddress;
  readonly prefix: number;
}

const V4_MAX = 0xffff_ffffn;
const V6_MAX = (1n << 128n) - 1n;
const MAPPED = 0xffffn << 32n;

export function ipv4(value: bigint): IpAddress {
  return { family: 4, value };
}

/** Maps `::ffff:a.b.c.d` to the IPv4 address it stands for. */
export function ipv6(value: bigint): IpAddress {
  return value >> 32n === MAPPED >> 32n ? { family: 4, value: value & V4_MAX } : { family: 6, value };
}

/** The strict, usual notations: `192.0.2.1`, and IPv6 as of RFC 4291 §2.2 without brackets or a zone. */
export function parseIp(text: string): IpAddress | undefined {
  if (text.includes(":")) return parseIpv6(text);
  const value = strictIpv4(text);
  return value === undefined ? undefined : ipv4(value);
}

const OCTET = /^(?:0|[1-9][0-9]{0,2})$/;

function strictIpv4(text: string): bigint | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let value = 0n;
  for (const part of parts) {
    if (!OCTET.test(part) || Number(part) > 255) return undefined;
    value = (value << 8n) | BigInt(part);
  }
  return value;
}

/**
 * What `inet_aton` and the WHATWG URL parser take for an IPv4 address: one to four parts, each decimal, octal (`0…`) or
 * hexadecimal (`0x…`), the last one filling what is left. `undefined`: not such a number at all.
 */
export function parseLooseIpv4(text: string): IpAddress | undefined {
  const parts = text.split(".");
  if (parts.length > 4) return undefined;
  const numbers: bigint[] = [];
  for (const part of parts) {
    const number = looseNumber(part);
    if (number === undefined) return undefined;
    numbers.push(number);
  }
  const last = numbers.pop() ?? 0n;
  if (numbers.some((number) => number > 255n) || last >= 1n << BigInt(8 * (4 - numbers.length)))
    return undefined;
  let value = last;
  for (const [index, number] of numbers.entries()) value |= number << BigInt(8 * (3 - index));
  return ipv4(value);
}

function looseNumber(part: string): bigint | undefined {
  if (/^0[xX][0-9a-fA-F]{0,16}$/.test(part)) return part.length === 2 ? 0n : BigInt(part.toLowerCase());
  if (/^0[0-7]{1,22}$/.test(part)) return BigInt(`0o${part.slice(1)}`);
  return /^[0-9]{1,20}$/.test(part) && (part === "0" || part[0] !== "0") ? BigInt(part) : undefined;
}

const GROUP = /^[0-9a-fA-F]{1,4}$/;

function parseIpv6(text: string): IpAddress | undefined {
  const halves = text.split("::");
  if (halves.length > 2 || text.length > 45) return undefined;
  const head = groupsOf(halves[0] ?? "", halves.length === 1);
  const tail = halves.length === 1 ? [] : groupsOf(halves[1] ?? "", true);
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  let value = 0n;
  for (const group of [...head, ...Array.from({ length: missing }, () => 0), ...tail])
    value = (value << 16n) | BigInt(group);
  return ipv6(value);
}

/** 16-bit groups of one side of `::`; a dotted IPv4 address may stand at the very end. */
function groupsOf(side: string, mayEndInIpv4: boolean): number[] | undefined {
  if (side === "") return [];
  const parts = side.split(":");
  const groups: number[] = [];
  for (const [index, part] of parts.entries()) {
    if (part.includes(".")) {
      const value = mayEndInIpv4 && index === parts.length - 1 ? strictIpv4(part) : undefined;
      if (value === undefined) return undefined;
      groups.push(Number(value >> 16n), Number(value & 0xffffn));
    } else if (GROUP.test(part)) groups.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return groups;
}

/** Dotted decimal, or IPv6 as RFC 5952 has it: lower case, the longest run of zero groups shortened. */
export function formatIp({ family, value }: IpAddress): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join(".");
  const groups = Array.from({ length: 8 }, (_, index) => (value >> BigInt(16 * (7 - index))) & 0xffffn);
  const { start, length } = longestZeroRun(groups);
  const text = (part: readonly bigint[]) => part.map((group) => group.toString(16)).join(":");
  return length < 2 ? text(groups) : `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`;
}

function longestZeroRun(groups: readonly bigint[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (let index = 0; index <= groups.length; index++) {
    if (index < groups.length && groups[index] === 0n) continue;
    if (index - start > best.length) best = { start, length: index - start };
    start = index + 1;
  }
  return best;
}

/** `10.0.0.0/8`, `fd00::/8`, or a single address. Bits behind the prefix must be zero: `10.1.2.3/8` is a mistake. */
export function parseCidr(text: string): Result<Cidr> {
  const [address = "", bits, ...rest] = text.split("/");
  const base = parseIp(address);
  if (base === undefined || rest.length > 0 || (bits !== undefined && !/^[0-9]{1,3}$/.test(bits)))
    return err(`"${text.slice(0, 60)}" is not a CIDR: write 192.0.2.0/24 or 2001:db8::/32`);
  const width = base.family === 4 ? 32 : 128;
  if (base.family === 4 && address.includes(":"))
    return err(`"${text.slice(0, 60)}" is an IPv4 address written as IPv6: write ${formatIp(base)}`);
  const prefix = bits === undefined ? width : Number(bits);
  if (prefix > width) return err(`an IPv${base.family} prefix has at most ${width} bits`);
  const network = maskOf(base, prefix);
  return network.value === base.value
    ? ok({ base, prefix })
    : err(`"${text.slice(0, 60)}" has bits behind its prefix: write ${formatIp(network)}/${prefix}`);
}

export function formatCidr({ base, prefix }: Cidr): string {
  return `${formatIp(base)}/${prefix}`;
}

/** The first `prefix` bits of an address. */
export function maskOf({ family, value }: IpAddress, prefix: number): IpAddress {
  const width = family === 4 ? 32 : 128;
  const kept = BigInt(width - prefix);
  return { family, value: ((value >> kept) << kept) & (family === 4 ? V4_MAX : V6_MAX) };
}

export function cidrHas(cidr: Cidr, address: IpAddress): boolean {
  return (
    cidr.base.family === address.family && address.value >> shiftOf(cidr) === cidr.base.value >> shiftOf(cidr)
  );
}

/** Whether every address of `inner` is one of `outer`. */
export function cidrWithin(inner: Cidr, outer: Cidr): boolean {
  return inner.prefix >= outer.prefix && cidrHas(outer, inner.base);
}

function shiftOf({ base, prefix }: Cidr): bigint {
  return BigInt((base.family === 4 ? 32 : 128) - prefix);
}
