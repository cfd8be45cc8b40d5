import { describe, expect, it } from "vitest";
import { ConnectionQueue, type Waiter } from "./connection-queue.ts";

/** So many connections are free; those who wait take one each, unless they have left. */
function scene() {
  const queue = new ConnectionQueue();
  const went: string[] = [];
  const state = { free: 0, idle: 0, went, queue };
  const waiter = (name: string, client: Waiter["client"] = "here") =>
    queue.add({
      tryAgain: () => {
        if (client === "gone") return false;
        if (state.free === 0) return true;
        state.free -= 1;
        went.push(name);
        return false;
      },
      client,
      giveWay: () => void went.push(`not ${name}`),
    });
  const forget = queue.offer(() => {
    if (state.idle === 0) return false;
    state.idle -= 1;
    return true;
  });
  return { ...state, state, waiter, forget };
}

describe("who waits for a connection", () => {
  it("goes in order, as many as there are connections for", () => {
    const { state, queue, waiter, went } = scene();
    for (const name of ["a", "b", "c"]) waiter(name);
    state.free = 2;
    queue.wake();
    expect([went, queue.length]).toEqual([["a", "b"], 1]);
  });

  it("does not stand behind those who have left", () => {
    const { state, queue, waiter, went } = scene();
    waiter("a", "gone");
    waiter("b", "gone");
    waiter("c");
    state.free = 1;
    queue.wake();
    expect([went, queue.length]).toEqual([["c"], 0]);
  });

  it("has a place for another where one is gone, or else where the first one may be", () => {
    const { state, queue, waiter, went } = scene();
    waiter("a");
    waiter("b", "ended");
    waiter("c", "gone");
    waiter("d", "ended");
    expect([queue.makePlace(), went, queue.length]).toEqual([true, [], 3]);
    expect([queue.makePlace(), went, queue.length]).toEqual([true, ["not b"], 2]);
    state.free = 2;
    queue.wake();
    expect(went).toEqual(["not b", "a", "d"]);
    waiter("e");
    expect([queue.makePlace(), queue.length]).toEqual([false, 1]);
  });

  it("has an idle connection closed that it cannot use, one at a time", () => {
    const { state, queue, waiter, forget } = scene();
    state.idle = 3;
    waiter("a");
    expect(state.idle).toBe(2);
    queue.wake();
    expect([state.idle, queue.length]).toEqual([1, 1]);
    forget();
    queue.wake();
    expect(state.idle).toBe(1);
  });

  it("is not woken within waking", () => {
    const { queue } = scene();
    let tries = 0;
    const tryAgain = () => {
      tries += 1;
      queue.wake();
      return tries < 3;
    };
    queue.add({ tryAgain, client: "here" });
    queue.wake();
    expect([tries, queue.length]).toEqual([1, 1]);
  });
});
