import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Fault, RETRY_AFTER_S, SLOW_MS } from "../fakes/faulty-proxy.ts";
import { type MemberStatus, type ProxiedMembers, startProxiedMembers } from "../fakes/proxied-members.ts";
import { until } from "../fakes/until.ts";

let members: ProxiedMembers;

beforeAll(async () => {
  members = await startProxiedMembers();
}, 60_000);

afterEach(() => {
  members.proxy.fault = "none";
  members.proxy.spoils = () => true;
});

afterAll(() => members.stop());

describe("a registry that is half broken", () => {
  // What each leads to, as the member itself and the operator's check say it.
  const FAULTS: readonly (readonly [Fault, Partial<MemberStatus["discovery"]>])[] = [
    ["throttled", { connected: false }],
    ["failing", { connected: false }],
    ["cut", { connected: false }],
    ["half-packed", { connected: false }],
    ["garbled", { connected: false }],
    ["foreign", { connected: true, refusedCode: "ISTH-1051" }],
  ];

  test.each(FAULTS)(
    "%s: calls go on with what is known, the member and the check say so, and it heals by itself",
    { timeout: 60_000 },
    async (fault, expected) => {
      const load = members.startCalling();
      // Reports pass, as they do where only the larger answers are spoiled.
      members.proxy.spoils = ({ path }) => path.endsWith("/clusters/west/snapshot");
      members.proxy.fault = fault;
      const before = members.proxy.spoiled.length;
      const name = await members.change();
      // The question that waited already when the fault began may still have brought this change.
      const unheard = await members.change();
      await until(`the member notices ${fault}`, 40_000, async () => {
        const { discovery: told } = await members.status();
        return Object.entries(expected ?? {}).every(([key, value]) => Reflect.get(told ?? {}, key) === value)
          ? true
          : undefined;
      });
      await until("it was spoiled more than once", 30_000, () =>
        members.proxy.spoiled.length > before + 1 ? true : undefined,
      );
      const [one = 0, next = 0] = members.proxy.spoiled.slice(before);
      if (fault === "throttled") expect(next - one).toBeGreaterThanOrEqual(RETRY_AFTER_S * 1_000 - 50);
      expect(members.importedAt(unheard), "frozen").toBeUndefined();
      expect(await members.call()).toBe("200");
      expect(await members.checked()).toMatchObject({
        status: expect.stringMatching(/warning|failed/),
        ...(expected?.refusedCode === undefined ? {} : { code: expected.refusedCode }),
      });
      members.proxy.fault = "none";
      for (const service of [name, unheard])
        await until(`${service} is there once it heals`, 20_000, () => members.importedAt(service));
      await until("the member is content again", 5_000, async () => {
        const { discovery: told } = await members.status();
        return told?.connected === true && told.refusedCode === undefined ? true : undefined;
      });
      expect(await members.checked()).toMatchObject({ status: "ok" });
      const answers = await load.stop();
      expect(answers.length).toBeGreaterThan(20);
      expect(answers.filter((answer) => answer !== "200")).toEqual([]);
    },
  );

  test("that is slow is heard late, and nobody takes it for dead", { timeout: 30_000 }, async () => {
    const load = members.startCalling();
    members.proxy.fault = "slow";
    // The question that waits already brings this one at once.
    const first = await members.change();
    await until("it is heard", 25_000, () => members.importedAt(first));
    const began = performance.now();
    const name = await members.change();
    await until("it is heard", 25_000, () => members.importedAt(name));
    expect(performance.now() - began).toBeGreaterThan(SLOW_MS);
    expect((await members.status()).discovery).toMatchObject({ connected: true });
    expect((await load.stop()).filter((answer) => answer !== "200")).toEqual([]);
  });
});
