import type { asn1 as Layer } from "node-forge";
import asn1 from "node-forge/lib/asn1.js";
import { OIDS, type OidName, oidBody } from "./oids.ts";

/** Words for forge's asn1 layer, which keeps bytes as strings of one character each. */
export type DerItem = Layer.Asn1;

const { UNIVERSAL, CONTEXT_SPECIFIC } = asn1.Class;
const { Type } = asn1;

export function encodeDer(item: DerItem): Buffer {
  return Buffer.from(asn1.toDer(item).getBytes(), "latin1");
}

/** DER that exists already, such as an issuer's name. Bit strings stay opaque: forge would guess at their insides. */
export function existing(der: Buffer): DerItem {
  const options = { strict: true, decodeBitStrings: false } as unknown as boolean;
  return asn1.fromDer(der.toString("latin1"), options);
}

export function sequence(...items: DerItem[]): DerItem {
  return asn1.create(UNIVERSAL, Type.SEQUENCE, true, items);
}

export function setOf(item: DerItem): DerItem {
  return asn1.create(UNIVERSAL, Type.SET, true, [item]);
}

export function oid(name: OidName): DerItem {
  return asn1.create(UNIVERSAL, Type.OID, false, oidBody(OIDS[name]));
}

export function oidOf(dotted: string): DerItem {
  return asn1.create(UNIVERSAL, Type.OID, false, oidBody(dotted));
}

export function isTrue(): DerItem {
  return asn1.create(UNIVERSAL, Type.BOOLEAN, false, "\xff");
}

export function integer(value: number): DerItem {
  return asn1.create(UNIVERSAL, Type.INTEGER, false, asn1.integerToDer(value).getBytes());
}

/** Big-endian and already in the shortest positive form. */
export function integerBytes(bytes: Buffer): DerItem {
  return asn1.create(UNIVERSAL, Type.INTEGER, false, bytes.toString("latin1"));
}

export function bitString(bits: Buffer, unused = 0): DerItem {
  const value = String.fromCharCode(unused) + bits.toString("latin1");
  return asn1.create(UNIVERSAL, Type.BITSTRING, false, value);
}

export function octetString(bytes: Buffer): DerItem {
  return asn1.create(UNIVERSAL, Type.OCTETSTRING, false, bytes.toString("latin1"));
}

export function utf8String(text: string): DerItem {
  return asn1.create(UNIVERSAL, Type.UTF8, false, Buffer.from(text, "utf8").toString("latin1"));
}

/** `[n]` around items. */
export function tagged(n: number, ...items: DerItem[]): DerItem {
  return asn1.create(CONTEXT_SPECIFIC, n, true, items);
}

/** `[n]` in place of a primitive's own tag. */
export function taggedBytes(n: number, bytes: Buffer): DerItem {
  return asn1.create(CONTEXT_SPECIFIC, n, false, bytes.toString("latin1"));
}

const FIRST_GENERALIZED_MS = Date.UTC(2050, 0, 1);

/** RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime after; whole seconds. */
export function time(ms: number): DerItem {
  const text = new Date(ms).toISOString().replace(/[-:T]|\.\d{3}/g, "");
  return ms < FIRST_GENERALIZED_MS
    ? asn1.create(UNIVERSAL, Type.UTCTIME, false, text.slice(2))
    : asn1.create(UNIVERSAL, Type.GENERALIZEDTIME, false, text);
}
