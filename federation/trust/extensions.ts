import {
  children,
  DerError,
  type DerNode,
  expect,
  readBitString,
  readBoolean,
  readDer,
  readSmallInteger,
  TAG,
} from "./der.ts";
import { type OidName, oidName } from "./oids.ts";

/** What the extensions of a certificate say. Absent ones say what RFC 5280 has for their absence. */
export interface Extensions {
  readonly isCa: boolean;
  readonly pathLength: number | undefined;
  /** Bit n is bit n of RFC 5280 §4.2.1.3; `undefined` where the extension is absent. */
  readonly keyUsage: number | undefined;
  readonly keyUsageCritical: boolean;
  /** `undefined` where the extension is absent; purposes we do not know are left out. */
  readonly extendedKeyUsage: readonly OidName[] | undefined;
  readonly names: AlternativeNames;
  readonly nameConstraints: NameConstraints | undefined;
  /** A critical extension that we do not understand, in hexadecimal. */
  readonly unknownCritical: string | undefined;
}

export interface AlternativeNames {
  readonly uris: readonly string[];
  /** Tags of the other forms that occur (RFC 5280 §4.2.1.6). */
  readonly otherForms: ReadonlySet<number>;
  readonly critical: boolean;
}

export interface NameConstraints {
  /** `undefined`: URIs are not constrained. */
  readonly permittedUris: readonly string[] | undefined;
  readonly excludedUris: readonly string[];
  /** Forms that are constrained otherwise: names of these forms cannot be judged. */
  readonly otherForms: ReadonlySet<number>;
}

const URI_FORM = 6;
const NO_NAMES: AlternativeNames = { uris: [], otherForms: new Set(), critical: false };

interface RawExtension {
  readonly critical: boolean;
  readonly value: DerNode;
}

/** `node` is the explicit `[3]` of the certificate. */
export function readExtensions(node: DerNode): Extensions {
  const [list, ...rest] = children(node);
  if (rest.length > 0) throw new DerError("one list of extensions is allowed");
  const { known, unknownCritical } = collect(children(expect(list, TAG.sequence, "the extensions")));
  const constraints = known.get("basicConstraints");
  const usage = known.get("keyUsage");
  const purposes = known.get("extendedKeyUsage");
  const names = known.get("subjectAltName");
  const nameConstraints = known.get("nameConstraints");
  return {
    ...readBasicConstraints(constraints),
    keyUsage: usage === undefined ? undefined : readKeyUsage(usage.value),
    keyUsageCritical: usage?.critical ?? false,
    extendedKeyUsage: purposes === undefined ? undefined : readPurposes(purposes.value),
    names: names === undefined ? NO_NAMES : readNames(names),
    nameConstraints: nameConstraints === undefined ? undefined : readNameConstraints(nameConstraints.value),
    unknownCritical,
  };
}

function collect(list: readonly DerNode[]): {
  known: Map<OidName, RawExtension>;
  unknownCritical: string | undefined;
} {
  const known = new Map<OidName, RawExtension>();
  const seen = new Set<string>();
  let unknownCritical: string | undefined;
  for (const item of list) {
    const parts = children(expect(item, TAG.sequence, "an extension"));
    const id = expect(parts[0], TAG.oid, "an extension's type").body;
    const [flag, value] = parts.length === 3 ? [parts[1], parts[2]] : [undefined, parts[1]];
    const critical =
      flag !== undefined && readBoolean(expect(flag, TAG.boolean, "an extension's criticality"));
    if (parts.length > 3 || (flag !== undefined && !critical))
      throw new DerError("an extension is malformed");
    const hex = id.toString("hex");
    if (seen.has(hex)) throw new DerError("an extension occurs twice");
    seen.add(hex);
    const content = expect(value, TAG.octetString, "an extension's value").body;
    const name = oidName(id);
    if (name !== undefined && READ_HERE.has(name)) known.set(name, { critical, value: readDer(content) });
    else if (critical) unknownCritical ??= hex;
  }
  return { known, unknownCritical };
}

// Key identifiers help to find an issuer; we find it by name and prove it by signature, and they are never critical.
const READ_HERE: ReadonlySet<OidName> = new Set<OidName>([
  "basicConstraints",
  "keyUsage",
  "extendedKeyUsage",
  "subjectAltName",
  "nameConstraints",
]);

function readBasicConstraints(extension: RawExtension | undefined): Pick<Extensions, "isCa" | "pathLength"> {
  if (extension === undefined) return { isCa: false, pathLength: undefined };
  const [ca, length, ...rest] = children(expect(extension.value, TAG.sequence, "basic constraints"));
  if (ca === undefined) return { isCa: false, pathLength: undefined };
  const isCa = readBoolean(expect(ca, TAG.boolean, "the CA flag"));
  if (!isCa || rest.length > 0) throw new DerError("basic constraints are malformed");
  return { isCa, pathLength: length === undefined ? undefined : readSmallInteger(length, "the path length") };
}

function readKeyUsage(node: DerNode): number {
  const { bits } = readBitString(node, "the key usage");
  if (bits.length > 2) throw new DerError("the key usage has more than nine bits");
  let usage = 0;
  for (let bit = 0; bit < bits.length * 8; bit++) {
    if (((bits[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0) usage |= 1 << bit;
  }
  return usage;
}

function readPurposes(node: DerNode): OidName[] {
  const purposes = children(expect(node, TAG.sequence, "the extended key usage"));
  if (purposes.length === 0) throw new DerError("the extended key usage is empty");
  return purposes.flatMap((purpose) => oidName(expect(purpose, TAG.oid, "a key purpose").body) ?? []);
}

function readNames(extension: RawExtension): AlternativeNames {
  const list = children(expect(extension.value, TAG.sequence, "the alternative names"));
  if (list.length === 0) throw new DerError("the alternative names are empty");
  const uris: string[] = [];
  const otherForms = new Set<number>();
  for (const name of list) {
    const form = readForm(name);
    if (form === URI_FORM) uris.push(readUri(name));
    else otherForms.add(form);
  }
  return { uris, otherForms, critical: extension.critical };
}

function readForm(name: DerNode): number {
  if ((name.tag & 0xc0) !== 0x80) throw new DerError("a name is of no known form");
  return name.tag & 0x1f;
}

/** IA5String: a byte is a character. Whether it is a good URI is judged elsewhere. */
function readUri(name: DerNode): string {
  if ((name.tag & 0x20) !== 0) throw new DerError("a URI is malformed");
  return name.body.toString("latin1");
}

function readNameConstraints(node: DerNode): NameConstraints {
  const otherForms = new Set<number>();
  let permittedUris: string[] | undefined;
  let excludedUris: string[] = [];
  const parts = children(expect(node, TAG.sequence, "the name constraints"));
  if (parts.length === 0 || parts.length > 2)
    throw new DerError("the name constraints are empty or too many");
  let previous = 0;
  for (const part of parts) {
    if (part.tag <= previous || (part.tag !== 0xa0 && part.tag !== 0xa1)) {
      throw new DerError("the name constraints are malformed");
    }
    previous = part.tag;
    const uris = readSubtrees(part, otherForms);
    if (part.tag === 0xa1) excludedUris = uris;
    else if (uris.length > 0) permittedUris = uris;
  }
  return { permittedUris, excludedUris, otherForms };
}

function readSubtrees(node: DerNode, otherForms: Set<number>): string[] {
  const uris: string[] = [];
  for (const subtree of children(node)) {
    const [base, ...bounds] = children(expect(subtree, TAG.sequence, "a subtree"));
    if (base === undefined || bounds.length > 0) throw new DerError("a subtree has bounds");
    const form = readForm(base);
    if (form === URI_FORM) uris.push(readUri(base));
    else otherForms.add(form);
  }
  return uris;
}
