import { expect, test } from "vitest";
import { createManualClock } from "../../test/fakes/manual-clock.ts";
import { Wakeups } from "./wakeups.ts";

const LIMITS = { total: 10, perName: 5 };
const open = () => new AbortController().signal;

test("wakes those who wait for a name, and leaves no timer behind", async () => {
  const clock = createManualClock();
  const wakeups = new Wakeups(clock, LIMITS);
  const east = [wakeups.wait("east", 1_000, open()), wakeups.wait("east", 1_000, open())];
  const west = wakeups.wait("west", 1_000, open());
  wakeups.wake("east");
  await east[0];
  await east[1];
  expect(wakeups.waiting).toBe(1);
  expect(clock.pending).toBe(1);
  clock.advance(1_000);
  await west;
  expect(wakeups.waiting).toBe(0);
  expect(clock.pending).toBe(0);
});

test("lets go of a waiter whose signal aborts, also when it aborted before", async () => {
  const clock = createManualClock();
  const wakeups = new Wakeups(clock, LIMITS);
  const gone = new AbortController();
  const waiting = wakeups.wait("east", 1_000, gone.signal);
  gone.abort();
  await waiting;
  await wakeups.wait("east", 1_000, gone.signal);
  expect(wakeups.waiting).toBe(0);
  expect(clock.pending).toBe(0);
});

test("has no room beyond its limits, and room again when someone leaves", () => {
  const wakeups = new Wakeups(createManualClock(), { total: 3, perName: 2 });
  const wait = (name: string) => wakeups.wait(name, 1_000, open());
  expect([wait("east"), wait("east"), wait("east")].map((waiting) => waiting !== undefined)).toEqual([
    true,
    true,
    false,
  ]);
  expect([wait("west"), wait("west")].map((waiting) => waiting !== undefined)).toEqual([true, false]);
  wakeups.wakeAll();
  expect(wait("east")).toBeDefined();
});
