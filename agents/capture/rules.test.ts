import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createWatch } from "../../gateway/dataplane/lifecycle/watch.ts";
import { createManualClock, settle } from "../../test/fakes/manual-clock.ts";
import { createMemoryLog } from "../../test/fakes/memory-log.ts";
import { createCapture } from "./capture.ts";
import type { Interfaces } from "./landing.ts";
import { type CapturedPort, renderChanges, renderGuardChanges, renderTable } from "./rules.ts";

const port = fc.record({
  address: fc.constantFrom("10.96.0.1", "10.96.0.2", "fd00:96::1", "fd00:96::2"),
  port: fc.constantFrom(80, 443),
  listen: fc.constantFrom(20_001, 20_002),
  strict: fc.boolean(),
});
const ports = fc.uniqueArray(port, { selector: ({ address, port: number }) => `${address}:${number}` });

const NODE = { netmask: "", mac: "", cidr: null, internal: false } as const;
const interfaces = (...addresses: readonly string[]): Interfaces => ({
  eth0: addresses.map((address) =>
    address.includes(":")
      ? { ...NODE, address, family: "IPv6", scopeid: 0 }
      : { ...NODE, address, family: "IPv4" },
  ),
});

/** What a list of element commands makes of a table's elements. */
function played(before: readonly CapturedPort[], script: string): Set<string> {
  const elements = new Set(before.flatMap(elementsOf));
  for (const line of script.split("\n").filter((each) => each !== "")) {
    const [, verb, name, key, value] =
      /^(add|delete) element inet isthmus (\w+) \{ (\S+ \. \d+)(?: : (\d+))? \}$/.exec(line) ?? [];
    if (verb === "add") {
      expect(
        [...elements].some((element) => element.startsWith(`${name} ${key}`)),
        line,
      ).toBe(false);
      elements.add(value === undefined ? `${name} ${key}` : `${name} ${key} ${value}`);
    } else {
      const found = [...elements].find((element) => element.startsWith(`${name} ${key}`));
      expect(found, line).toBeDefined();
      elements.delete(found ?? "");
    }
  }
  return elements;
}

function elementsOf({ address, port: number, listen, strict }: CapturedPort): string[] {
  const family = address.includes(":") ? "ip6" : "ip";
  return [
    `captured_${family} ${address} . ${number}`,
    `${strict ? "strict" : "permissive"}_${family} ${address} . ${number} ${listen}`,
  ];
}

describe("the rules of capture", () => {
  it("turn any set of ports into any other, element by element, without adding one twice", () => {
    fc.assert(
      fc.property(ports, ports, (before, after) => {
        expect(played(before, renderChanges(before, after))).toEqual(new Set(after.flatMap(elementsOf)));
      }),
    );
  });

  it("turn any set of guarded pods into any other", () => {
    const addresses = fc.uniqueArray(fc.constantFrom("10.0.0.1", "10.0.0.2", "fd00::3"));
    fc.assert(
      fc.property(addresses, addresses, (before, after) => {
        const guarded = new Set<string>(before);
        for (const line of renderGuardChanges(before, after)
          .split("\n")
          .filter((each) => each !== "")) {
          const [, verb, family, address = ""] =
            /^(add|delete) element inet isthmus guarded_(ip6?) \{ (\S+) \}$/.exec(line) ?? [];
          expect(family).toBe(address.includes(":") ? "ip6" : "ip");
          expect(guarded.has(address), line).toBe(verb === "delete");
          if (verb === "add") guarded.add(address);
          else guarded.delete(address);
        }
        expect(guarded).toEqual(new Set(after));
      }),
    );
  });

  it("replace the table in one transaction, each family by itself", () => {
    const captured = ["10.96.0.1", "fd00:96::1"].map((address, index) => ({
      address,
      port: 80,
      listen: 20_001 + index,
      strict: index > 0,
    }));
    const landing = { ip4: "192.0.2.1", ip6: "2001:db8::1" };
    const script = renderTable({ captured, guarded: ["fd00::3"], landing });
    expect(script.startsWith("add table inet isthmus\ndelete table inet isthmus\ntable inet isthmus {")).toBe(
      true,
    );
    for (const line of [
      "map permissive_ip { type ipv4_addr . inet_service : inet_service; elements = { 10.96.0.1 . 80 : 20001 } }",
      "map permissive_ip6 { type ipv6_addr . inet_service : inet_service; }",
      "map strict_ip { type ipv4_addr . inet_service : inet_service; }",
      "map strict_ip6 { type ipv6_addr . inet_service : inet_service; elements = { fd00:96::1 . 80 : 20002 } }",
      "set guarded_ip6 { type ipv6_addr; elements = { fd00::3 } }",
      "meta l4proto tcp dnat ip to 192.0.2.1:ip daddr . tcp dport map @strict_ip",
      "meta nfproto @alive meta l4proto tcp dnat ip6 to [2001:db8::1]:ip6 daddr . tcp dport map @permissive_ip6",
      "add element inet isthmus alive { ipv4 timeout 3s, ipv6 timeout 3s }",
    ])
      expect(script).toContain(`${line}\n`);
  });

  it("turn a family that the node has no address of to whatever address the interface has", () => {
    const script = renderTable({ captured: [], guarded: [], landing: { ip4: "192.0.2.1" } });
    expect(script).toContain("meta l4proto tcp redirect to :ip6 daddr . tcp dport map @strict_ip6");
  });
});

describe("capture", () => {
  it("writes nothing before it is started, whatever is published: nobody listens yet, and nobody would remove it", async () => {
    const captured = createWatch<readonly CapturedPort[]>([]);
    const guarded = createWatch<readonly string[]>([]);
    const scripts: string[] = [];
    const run = async (script: string) => void scripts.push(script);
    const shell = { clock: createManualClock(), log: createMemoryLog(), run, interfaces: () => ({}) };
    const capture = createCapture({ captured, guarded, ...shell });
    captured.publish([{ address: "10.96.0.1", port: 80, listen: 20_001, strict: true }]);
    guarded.publish(["10.244.0.10"]);
    await settle();
    expect(scripts).toEqual([]);
    await capture.start();
    expect(scripts).toHaveLength(1);
    await capture.stop();
    guarded.publish([]);
    await settle();
    expect(scripts).toHaveLength(2);
  });

  it("beats, follows changes, writes everything anew after a failure, and removes it all at the end", async () => {
    const captured = createWatch<readonly CapturedPort[]>([]);
    const clock = createManualClock();
    const scripts: string[] = [];
    let fails = false;
    const run = async (script: string): Promise<string | undefined> => {
      scripts.push(script);
      return fails ? "Error: No such file or directory" : undefined;
    };
    const log = createMemoryLog();
    let addresses = ["192.0.2.1"];
    const capture = createCapture({ captured, interfaces: () => interfaces(...addresses), clock, log, run });
    await capture.start();
    expect(scripts.at(-1)).toContain("table inet isthmus {");
    await clock.advanceAsync(1_000);
    expect(scripts.at(-1)).toMatch(/^flush set inet isthmus alive\n/);
    captured.publish([{ address: "10.96.0.1", port: 80, listen: 20_001, strict: true }]);
    await settle();
    expect(scripts.at(-1)).toContain("add element inet isthmus strict_ip { 10.96.0.1 . 80 : 20001 }");
    addresses = ["192.0.2.2", "2001:db8::2"];
    await clock.advanceAsync(1_000);
    expect(scripts.at(-1)).toContain("dnat ip to 192.0.2.2:");
    expect(scripts.at(-1)).toContain("dnat ip6 to [2001:db8::2]:");
    fails = true;
    await clock.advanceAsync(1_000);
    fails = false;
    await clock.advanceAsync(5_000);
    expect(scripts.at(-1)).toContain("table inet isthmus {");
    await capture.stop();
    expect(scripts.at(-1)).toBe("add table inet isthmus\ndelete table inet isthmus\n");
  });
});
