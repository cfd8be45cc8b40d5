import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkHistory, type History, type Read, type AuditEntry, type Write } from "./history.ts";

const ACTIONS = new Set(["resource.apply", "resource.delete"]);

/** A history of a registry that is well: some writes overlap, a few answers got lost, reads see what there is. */
function soundHistory(
  steps: readonly { readonly key: number; readonly overlap: boolean; readonly lost: boolean }[],
) {
  const writes: Write[] = [];
  const reads: Read[] = [];
  const audit: AuditEntry[] = [];
  const content = new Map<string, string>();
  let now = 0;
  for (const [index, { key, overlap, lost }] of steps.entries()) {
    const target = `ServiceExport/east/shop/s${key}`;
    const revision = index + 1;
    const deletes = content.has(target) && index % 3 === 0;
    const action = deletes ? "resource.delete" : "resource.apply";
    const invoked = overlap ? now - 5 : now;
    now += 10;
    const value = `v${revision}`;
    const base = { action, target, invoked, ...(deletes ? {} : { value }) } as const;
    writes.push(lost ? base : { ...base, returned: now - 1, revision });
    audit.push({ revision, action, targets: [target] });
    if (deletes) content.delete(target);
    else content.set(target, value);
    reads.push({ invoked: now, returned: now + 1, revision, content: new Map(content) });
    now += 2;
  }
  return { writes, reads, audit, actions: ACTIONS } satisfies History;
}

const STEPS = [
  { key: 1, overlap: false, lost: false },
  { key: 2, overlap: false, lost: true },
  { key: 1, overlap: true, lost: false },
  { key: 1, overlap: false, lost: false },
  { key: 3, overlap: false, lost: false },
  { key: 2, overlap: false, lost: false },
];

test("a sound history has nothing against it", () => {
  const step = fc.record({ key: fc.nat(3), overlap: fc.boolean(), lost: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => checkHistory(soundHistory(steps)).length === 0),
  );
});

test("a write in doubt that never happened is no fault", () => {
  const history = soundHistory(STEPS);
  const ghost: Write = {
    action: "resource.apply",
    target: "ServiceExport/east/shop/s9",
    value: "x",
    invoked: 3,
  };
  expect(checkHistory({ ...history, writes: [...history.writes, ghost] })).toEqual([]);
});

describe("each fault is found", () => {
  const sound = soundHistory(STEPS);
  const faults: { readonly [name: string]: (history: History) => History } = {
    "an acknowledged write that is lost": (history) => ({
      ...history,
      writes: [
        ...history.writes,
        { action: "resource.apply", target: "X", value: "x", invoked: 1, returned: 2, revision: 4 },
      ],
    }),
    "a write that happened twice": ({ audit, ...history }) => ({
      ...history,
      audit: [
        ...audit,
        { revision: audit.length + 1, action: "resource.apply", targets: ["ServiceExport/east/shop/s1"] },
      ],
    }),
    "a revision that is missing": ({ audit, ...history }) => ({
      ...history,
      audit: audit.filter((_, index) => index !== 2),
    }),
    "a stale read": ({ reads, ...history }) => ({
      ...history,
      reads: [...reads, { ...(reads[1] as Read), invoked: 10_000, returned: 10_001 }],
    }),
    "a read of what nobody wrote": ({ reads, ...history }) => ({
      ...history,
      reads: reads.map((read) => ({ ...read, content: new Map([...read.content, ["Y", "y"]]) })),
    }),
    "a read that misses a write": ({ reads, ...history }) => ({
      ...history,
      reads: reads.map((read) => ({ ...read, content: new Map([...read.content].slice(1)) })),
    }),
    "a torn read": ({ reads, ...history }) => ({
      ...history,
      reads: reads.map((read) => ({
        ...read,
        content: new Map([...read.content].map(([key]) => [key, "v0"])),
      })),
    }),
    "a write that was put before what had ended when it began": ({ writes, ...history }) => ({
      ...history,
      writes: writes.map((write) => (write.revision === 1 ? { ...write, invoked: 50, returned: 51 } : write)),
    }),
  };
  test.each(Object.entries(faults))("%s", (_, inject) => {
    expect(checkHistory(inject(sound))).not.toEqual([]);
  });
});
