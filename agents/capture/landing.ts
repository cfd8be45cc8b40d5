import type { NetworkInterfaceInfo } from "node:os";
import { type Cidr, cidrHas, formatIp, parseCidr, parseIp } from "../../federation/model/ip-address.ts";

/** As `os.networkInterfaces` tells them. */
export type Interfaces = { readonly [name: string]: readonly NetworkInterfaceInfo[] | undefined };

/** The node's own address that captured connections are sent to, per family. */
export interface Landing {
  readonly ip4?: string;
  readonly ip6?: string;
}

/** What no other interface routes to: link-local of both families, and loopback. */
const NEVER: readonly Cidr[] = ["169.254.0.0/16", "127.0.0.0/8", "fe80::/10", "::1/128"].flatMap((text) => {
  const cidr = parseCidr(text);
  return cidr.ok ? [cidr.value] : [];
});

/**
 * Any address of the node will do, as long as it is there: the one in force stays while it is. `redirect` would take one of
 * the interface that a packet came by, and where network plug-ins give a pod's interface none it drops the packet.
 */
export function pickLanding(interfaces: Interfaces, inForce: Landing): Landing {
  const found = Object.values(interfaces).flatMap((infos) => infos ?? []);
  const ip4 = pickOne(found, 4, inForce.ip4);
  const ip6 = pickOne(found, 6, inForce.ip6);
  return { ...(ip4 === undefined ? {} : { ip4 }), ...(ip6 === undefined ? {} : { ip6 }) };
}

function pickOne(
  infos: readonly NetworkInterfaceInfo[],
  family: 4 | 6,
  inForce: string | undefined,
): string | undefined {
  let picked: string | undefined;
  let isInternal = true;
  for (const { address, internal } of infos) {
    const ip = parseIp(address);
    if (ip?.family !== family || NEVER.some((cidr) => cidrHas(cidr, ip))) continue;
    const text = formatIp(ip);
    if (text === inForce) return text;
    // Nodes that announce their routes may have their one address on the loopback interface.
    if (picked !== undefined && (internal || !isInternal)) continue;
    picked = text;
    isInternal = internal;
  }
  return picked;
}
