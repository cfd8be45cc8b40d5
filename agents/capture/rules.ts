import type { Landing } from "./landing.ts";

/** One service address and port whose connections are to arrive at a local port instead. */
export interface CapturedPort {
  /** In its canonical form, of either family. */
  readonly address: string;
  readonly port: number;
  readonly listen: number;
  /** While no agent runs: refused, instead of going the plain way. */
  readonly strict: boolean;
}

/** Everything that a node's rules rest on. */
export interface Wanted {
  readonly captured: readonly CapturedPort[];
  /** Addresses of pods that take no plain connection. */
  readonly guarded: readonly string[];
  readonly landing: Landing;
}

export const TABLE = "inet isthmus";

/** Far longer than a beat is late, far shorter than a person waits. */
export const ALIVE_SECONDS = 3;

/** The two families, in nft's words. */
const FAMILIES = ["ip", "ip6"] as const;
type Family = (typeof FAMILIES)[number];

const ADDRESS_TYPE = { ip: "ipv4_addr", ip6: "ipv6_addr" } as const;

/**
 * The whole table, replaced in one transaction. Connections to what is captured are turned to the agent on this node;
 * their source address stays, and so who calls. `alive` is a switch that the kernel opens by itself: its elements live
 * as long as the agent renews them, so that pods are never stranded by an agent that died. Strict services do not look at it.
 */
export function renderTable({ captured, guarded, landing }: Wanted): string {
  const perFamily = (render: (family: Family) => readonly string[]): string =>
    FAMILIES.flatMap(render).join("\n    ");
  return `add table ${TABLE}
delete table ${TABLE}
table ${TABLE} {
  set alive { type nf_proto; flags timeout; }
${FAMILIES.map((family) => renderSets(family, captured, guarded)).join("\n")}
  chain antispoof {
    type filter hook prerouting priority dstnat - 6; policy accept;
    ${perFamily((family) => [`${keyOf(family)} @captured_${family} fib saddr . iif oif missing drop`])}
  }
  chain guard {
    type filter hook forward priority filter - 5; policy accept;
    ${perFamily((family) => [`${family} daddr @guarded_${family} meta l4proto tcp ct state new reject with tcp reset`])}
  }
  chain redirection {
    type nat hook prerouting priority dstnat - 5; policy accept;
    ${perFamily((family) => renderTurns(family, landing))}
  }
}
${renderBeat()}`;
}

/** Says that the agent lives, for `ALIVE_SECONDS` more. */
export function renderBeat(): string {
  const until = `timeout ${ALIVE_SECONDS}s`;
  return `flush set ${TABLE} alive
add element ${TABLE} alive { ipv4 ${until}, ipv6 ${until} }
`;
}

/** What turns one set of captured ports into another: as many lines as there are differences. */
export function renderChanges(before: readonly CapturedPort[], after: readonly CapturedPort[]): string {
  const [old, next] = [byText(before), byText(after)];
  const lines: string[] = [];
  for (const [text, each] of old) {
    if (next.has(text)) continue;
    lines.push(`delete element ${TABLE} ${mapOf(each)} { ${keyElement(each)} }`);
    lines.push(`delete element ${TABLE} captured_${familyOf(each.address)} { ${keyElement(each)} }`);
  }
  for (const [text, each] of next) {
    if (old.has(text)) continue;
    lines.push(`add element ${TABLE} ${mapOf(each)} { ${mapElement(each)} }`);
    lines.push(`add element ${TABLE} captured_${familyOf(each.address)} { ${keyElement(each)} }`);
  }
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

/** The same for the pods that take no plain connection; what the agent brings them does not pass the forward hook. */
export function renderGuardChanges(before: readonly string[], after: readonly string[]): string {
  const change = (verb: string, addresses: readonly string[]): readonly string[] =>
    addresses.map((each) => `${verb} element ${TABLE} guarded_${familyOf(each)} { ${each} }`);
  const lines = [
    ...change(
      "delete",
      before.filter((each) => !after.includes(each)),
    ),
    ...change(
      "add",
      after.filter((each) => !before.includes(each)),
    ),
  ];
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

export function renderRemoval(): string {
  return `add table ${TABLE}\ndelete table ${TABLE}\n`;
}

function renderSets(family: Family, captured: readonly CapturedPort[], guarded: readonly string[]): string {
  const own = captured.filter(({ address }) => familyOf(address) === family);
  const type = ADDRESS_TYPE[family];
  const map = (strict: boolean) => elements(own.filter((each) => each.strict === strict).map(mapElement));
  return `  set captured_${family} { type ${type} . inet_service; ${elements(own.map(keyElement))}}
  set guarded_${family} { type ${type}; ${elements(guarded.filter((each) => familyOf(each) === family))}}
  map permissive_${family} { type ${type} . inet_service : inet_service; ${map(false)}}
  map strict_${family} { type ${type} . inet_service : inet_service; ${map(true)}}`;
}

/** Where the node has no address of the family, `redirect` finds none either and drops: nothing slips through strict. */
function renderTurns(family: Family, landing: Landing): readonly string[] {
  const address = family === "ip" ? landing.ip4 : landing.ip6 && `[${landing.ip6}]`;
  const turn = address === undefined ? "redirect to " : `dnat ${family} to ${address}`;
  const port = keyOf(family);
  return [
    `meta l4proto tcp ${turn}:${port} map @strict_${family}`,
    `meta nfproto @alive meta l4proto tcp ${turn}:${port} map @permissive_${family}`,
  ];
}

function keyOf(family: Family): string {
  return `${family} daddr . tcp dport`;
}

function elements(some: readonly string[]): string {
  return some.length === 0 ? "" : `elements = { ${some.join(", ")} } `;
}

function familyOf(address: string): Family {
  return address.includes(":") ? "ip6" : "ip";
}

function mapOf({ strict, address }: CapturedPort): string {
  return `${strict ? "strict" : "permissive"}_${familyOf(address)}`;
}

function keyElement({ address, port }: CapturedPort): string {
  return `${address} . ${port}`;
}

function mapElement(each: CapturedPort): string {
  return `${keyElement(each)} : ${each.listen}`;
}

function byText(captured: readonly CapturedPort[]): ReadonlyMap<string, CapturedPort> {
  return new Map(captured.map((each) => [`${mapOf(each)} ${mapElement(each)}`, each]));
}
