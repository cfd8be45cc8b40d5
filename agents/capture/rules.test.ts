import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createWatch } from "../../gateway/dataplane/lifecycle/watch.ts";
import { createManualClock, settle } from "../../test/fakes/manual-clock.ts";
import { createMemoryLog } from "../../test/fakes/memory-log.ts";
import { createCapture } from "./capture.ts";
import { type CapturedPort, renderChanges, renderGuardChanges, renderTable } from "./rules.ts";

const port = fc.record({
  address: fc.constantFrom("10.96.0.1", "10.96.0.2", "10.96.0.3"),
  port: fc.constantFrom(80, 443),
  listen: fc.constantFrom(20_001, 20_002),
  strict: fc.boolean(),
});
const ports = fc.uniqueArray(port, { selector: ({ address, port: number }) => `${address}:${number}` });

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
  return [
    `captured ${address} . ${number}`,
    `${strict ? "strict" : "permissive"} ${address} . ${number} ${listen}`,
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
    const addresses = fc.uniqueArray(fc.constantFrom("10.0.0.1", "10.0.0.2", "10.0.0.3"));
    fc.assert(
      fc.property(addresses, addresses, (before, after) => {
        const guarded = new Set<string>(before);
        for (const line of renderGuardChanges(before, after)
          .split("\n")
          .filter((each) => each !== "")) {
          const [, verb, address = ""] =
            /^(add|delete) element inet isthmus guarded \{ (\S+) \}$/.exec(line) ?? [];
          expect(guarded.has(address), line).toBe(verb === "delete");
          if (verb === "add") guarded.add(address);
          else guarded.delete(address);
        }
        expect(guarded).toEqual(new Set(after));
      }),
    );
  });

  it("replace the table in one transaction", () => {
    const script = renderTable([{ address: "10.96.0.1", port: 80, listen: 20_001, strict: false }]);
    expect(script.startsWith("add table inet isthmus\ndelete table inet isthmus\ntable inet isthmus {")).toBe(
      true,
    );
    expect(script).toContain("10.96.0.1 . 80 : 20001");
  });
});

describe("capture", () => {
  it("writes nothing before it is started, whatever is published: nobody listens yet, and nobody would remove it", async () => {
    const captured = createWatch<readonly CapturedPort[]>([]);
    const guarded = createWatch<readonly string[]>([]);
    const scripts: string[] = [];
    const run = async (script: string) => void scripts.push(script);
    const options = { captured, guarded, clock: createManualClock(), log: createMemoryLog(), run };
    const capture = createCapture(options);
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
    const capture = createCapture({ captured, clock, log, run });
    await capture.start();
    expect(scripts.at(-1)).toContain("table inet isthmus {");
    await clock.advanceAsync(1_000);
    expect(scripts.at(-1)).toMatch(/^flush set inet isthmus alive\n/);
    captured.publish([{ address: "10.96.0.1", port: 80, listen: 20_001, strict: true }]);
    await settle();
    expect(scripts.at(-1)).toContain("add element inet isthmus strict { 10.96.0.1 . 80 : 20001 }");
    fails = true;
    await clock.advanceAsync(1_000);
    fails = false;
    await clock.advanceAsync(5_000);
    expect(scripts.at(-1)).toContain("table inet isthmus {");
    await capture.stop();
    expect(scripts.at(-1)).toBe("add table inet isthmus\ndelete table inet isthmus\n");
  });
});
