import { expect, test } from "vitest";
import { ADMIN_TOKEN, openRegistryScene } from "../../test/fakes/registry-scene.ts";
import { IN_PROCESS } from "../../test/fakes/scene-runtime.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { RateLimits, RATES } from "./rate-limit.ts";

const directory = useTempDirs();
const RATE = { perSecond: 10, burst: 3 };

test("lets a burst through, then as many as it says, and tells principals apart", () => {
  const limits = new RateLimits();
  const take = (principal: string, now: number) => limits.take(principal, RATE, now);
  expect([1, 2, 3, 4].map(() => take("a", 0))).toEqual([true, true, true, false]);
  expect(take("b", 0)).toBe(true);
  expect(take("a", 99)).toBe(false);
  expect(take("a", 200)).toBe(true);
  expect([1, 2, 3, 4].map(() => take("a", 60_000))).toEqual([true, true, true, false]);
});

test("a clock that is set back gives nothing away and takes nothing", () => {
  const limits = new RateLimits();
  for (const now of [1_000, 500, 400]) expect(limits.take("a", RATE, now)).toBe(true);
  expect(limits.take("a", RATE, 450)).toBe(false);
});

test.runIf(IN_PROCESS)("an operator that runs wild gets 429 with a code, and nobody else does", async () => {
  const { send, clock } = await openRegistryScene({ directory: directory() });
  const issued = await send("POST", "/v1/operator-tokens", {
    body: { role: "viewer", subject: "wild", expiresInSeconds: 60 },
  });
  const token = String(Reflect.get(Object(issued.json), "token"));
  const ask = () => send("GET", "/v1/resources", { token });
  for (let count = 0; count < RATES.operator.burst; count++) await ask();
  const refused = await ask();
  expect(refused).toMatchObject({ status: 429, json: { code: "ISTH-5012" } });
  expect(refused.headers.get("retry-after")).toBe("1");
  expect((await send("GET", "/v1/resources", { token: ADMIN_TOKEN })).status).toBe(200);
  clock.advance(1_000);
  expect((await ask()).status).toBe(200);
});
