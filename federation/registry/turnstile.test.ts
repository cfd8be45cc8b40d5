import { expect, test } from "vitest";
import { Turnstile } from "./turnstile.ts";

test("lets so many through at a time, in order, and the next one also after a failure", async () => {
  const turnstile = new Turnstile(2);
  const begun: number[] = [];
  const ends: ((failed: boolean) => void)[] = [];
  const results = [0, 1, 2, 3].map((number) =>
    turnstile.pass(async () => {
      begun.push(number);
      await new Promise<void>((resolve, reject) => {
        ends[number] = (failed) => (failed ? reject(new Error("broken")) : resolve());
      });
      return number;
    }),
  );
  const settled = Promise.allSettled(results);
  const next = () => new Promise((resolve) => setImmediate(resolve));
  await next();
  expect(begun).toEqual([0, 1]);
  ends[1]?.(true);
  await next();
  expect(begun).toEqual([0, 1, 2]);
  ends[0]?.(false);
  await next();
  ends[2]?.(false);
  ends[3]?.(false);
  expect((await settled).map(({ status }) => status)).toEqual([
    "fulfilled",
    "rejected",
    "fulfilled",
    "fulfilled",
  ]);
  expect(await turnstile.pass(async () => "free again")).toBe("free again");
});
