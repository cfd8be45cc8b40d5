import {
  type Cidr,
  cidrHas,
  cidrWithin,
  type IpAddress,
  ipv4,
  parseCidr,
} from "../../../federation/model/ip-address.ts";

export interface GuardedRange {
  readonly cidr: Cidr;
  readonly what: string;
}

/**
 * Where no name from outside may lead unless a policy names the range: the special-purpose registries of IANA (RFC 6890 and
 * its updates), and addresses at which clouds hand out credentials. Those stand by themselves, so that naming the
 * link-local or private range around one does not open it as well.
 */
const GUARDED: readonly (readonly [string, string])[] = [
  ["0.0.0.0/8", "this host"],
  ["10.0.0.0/8", "private"],
  ["100.64.0.0/10", "shared (carrier NAT)"],
  ["127.0.0.0/8", "loopback"],
  ["169.254.0.0/16", "link-local"],
  ["172.16.0.0/12", "private"],
  ["192.0.0.0/24", "protocol assignments"],
  ["192.0.2.0/24", "documentation"],
  ["192.88.99.0/24", "6to4 relays"],
  ["192.168.0.0/16", "private"],
  ["198.18.0.0/15", "benchmarking"],
  ["198.51.100.0/24", "documentation"],
  ["203.0.113.0/24", "documentation"],
  ["224.0.0.0/4", "multicast"],
  ["240.0.0.0/4", "reserved"],
  ["169.254.169.254/32", "cloud metadata"],
  ["169.254.170.2/32", "cloud metadata (container credentials)"],
  ["169.254.170.23/32", "cloud metadata (pod identity)"],
  ["100.100.100.200/32", "cloud metadata"],
  ["168.63.129.16/32", "cloud metadata (host agent)"],
  ["192.0.0.192/32", "cloud metadata"],
  ["::/96", "this host, or IPv4-compatible"],
  ["64:ff9b:1::/48", "local NAT64"],
  ["100::/64", "discard only"],
  ["2001::/23", "protocol assignments (Teredo among them)"],
  ["2001:db8::/32", "documentation"],
  ["2002::/16", "6to4"],
  ["3fff::/20", "documentation"],
  ["5f00::/16", "segment routing"],
  ["fc00::/7", "private"],
  ["fe80::/10", "link-local"],
  ["fec0::/10", "site-local"],
  ["ff00::/8", "multicast"],
  ["fd00:ec2::254/128", "cloud metadata"],
  ["fd00:ec2::23/128", "cloud metadata (pod identity)"],
  ["fd20:ce::254/128", "cloud metadata"],
];

const NAT64 = cidrOf("64:ff9b::/96");

function cidrOf(text: string): Cidr {
  const parsed = parseCidr(text);
  if (!parsed.ok) throw new TypeError(parsed.error);
  return parsed.value;
}

/** `own`: further ranges of this cluster (pods, services, nodes), guarded as private ones are. */
export function guardedRanges(own: readonly Cidr[] = []): readonly GuardedRange[] {
  return [
    ...GUARDED.map(([text, what]) => ({ cidr: cidrOf(text), what })),
    ...own.map((cidr) => ({ cidr, what: "this cluster's own" })),
  ];
}

/**
 * The guarded range that an address lies in and that no `named` range opens, if any. A named range opens a guarded one only
 * from within: `0.0.0.0/0` names every address and opens none of them.
 */
export function guardOf(
  ranges: readonly GuardedRange[],
  address: IpAddress,
  named: readonly Cidr[],
): GuardedRange | undefined {
  const real = translated(address);
  return ranges.find(
    ({ cidr }) => cidrHas(cidr, real) && !named.some((open) => cidrHas(open, real) && cidrWithin(open, cidr)),
  );
}

/** An address behind the well-known NAT64 prefix (RFC 6052 §2.1) is dialled by the translator as the IPv4 one inside. */
function translated(address: IpAddress): IpAddress {
  return cidrHas(NAT64, address) ? ipv4(address.value & 0xffff_ffffn) : address;
}
