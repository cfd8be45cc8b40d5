import { setTimeout as delay } from "node:timers/promises";

/** Asks again every few milliseconds until the answer is not `undefined`; fails with `what` after the deadline. */
export async function until<T>(
  what: string,
  deadlineMs: number,
  ask: () => T | undefined | Promise<T | undefined>,
): Promise<T> {
  const began = performance.now();
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() - began > deadlineMs) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await delay(10);
  }
}
