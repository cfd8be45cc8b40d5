/** One service address and port whose connections are to arrive at a local port instead. */
export interface CapturedPort {
  /** IPv4. */
  readonly address: string;
  readonly port: number;
  readonly listen: number;
  /** While no agent runs: refused, instead of going the plain way. */
  readonly strict: boolean;
}

export const TABLE = "inet isthmus";

/** Far longer than a beat is late, far shorter than a person waits. */
export const ALIVE_SECONDS = 3;

/**
 * The whole table, replaced in one transaction. Connections to what is captured are redirected to the agent on this node;
 * their source address stays, and so who calls. `alive` is a switch that the kernel opens by itself: its one element lives
 * as long as the agent renews it, so that pods are never stranded by an agent that died. Strict services do not look at it.
 */
export function renderTable(captured: readonly CapturedPort[], guarded: readonly string[] = []): string {
  const elements = (strict: boolean): string => {
    const some = captured.filter((each) => each.strict === strict).map(mapElement);
    return some.length === 0 ? "" : `elements = { ${some.join(", ")} }`;
  };
  const keys = captured.length === 0 ? "" : `elements = { ${captured.map(keyElement).join(", ")} }`;
  return `add table ${TABLE}
delete table ${TABLE}
table ${TABLE} {
  set alive { type nf_proto; flags timeout; }
  set captured { type ipv4_addr . inet_service; ${keys} }
  set guarded { type ipv4_addr; ${guarded.length === 0 ? "" : `elements = { ${guarded.join(", ")} }`} }
  map permissive { type ipv4_addr . inet_service : inet_service; ${elements(false)} }
  map strict { type ipv4_addr . inet_service : inet_service; ${elements(true)} }
  chain antispoof {
    type filter hook prerouting priority dstnat - 6; policy accept;
    ip daddr . tcp dport @captured fib saddr . iif oif missing drop
  }
  chain guard {
    type filter hook forward priority filter - 5; policy accept;
    ip daddr @guarded meta l4proto tcp ct state new reject with tcp reset
  }
  chain redirection {
    type nat hook prerouting priority dstnat - 5; policy accept;
    meta l4proto tcp redirect to :ip daddr . tcp dport map @strict
    meta nfproto @alive meta l4proto tcp redirect to :ip daddr . tcp dport map @permissive
  }
}
${renderBeat()}`;
}

/** Says that the agent lives, for `ALIVE_SECONDS` more. */
export function renderBeat(): string {
  return `flush set ${TABLE} alive
add element ${TABLE} alive { ipv4 timeout ${ALIVE_SECONDS}s }
`;
}

/** What turns one set of captured ports into another: as many lines as there are differences. */
export function renderChanges(before: readonly CapturedPort[], after: readonly CapturedPort[]): string {
  const [old, next] = [byText(before), byText(after)];
  const lines: string[] = [];
  for (const [text, each] of old) {
    if (next.has(text)) continue;
    lines.push(`delete element ${TABLE} ${mapOf(each)} { ${keyElement(each)} }`);
    lines.push(`delete element ${TABLE} captured { ${keyElement(each)} }`);
  }
  for (const [text, each] of next) {
    if (old.has(text)) continue;
    lines.push(`add element ${TABLE} ${mapOf(each)} { ${mapElement(each)} }`);
    lines.push(`add element ${TABLE} captured { ${keyElement(each)} }`);
  }
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

/** The same for the pods that take no plain connection; what the agent brings them does not pass the forward hook. */
export function renderGuardChanges(before: readonly string[], after: readonly string[]): string {
  const lines = [
    ...before
      .filter((each) => !after.includes(each))
      .map((each) => `delete element ${TABLE} guarded { ${each} }`),
    ...after
      .filter((each) => !before.includes(each))
      .map((each) => `add element ${TABLE} guarded { ${each} }`),
  ];
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

export function renderRemoval(): string {
  return `add table ${TABLE}\ndelete table ${TABLE}\n`;
}

function mapOf({ strict }: CapturedPort): string {
  return strict ? "strict" : "permissive";
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
