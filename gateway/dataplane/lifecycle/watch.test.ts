import { describe, expect, it, vi } from "vitest";
import { createWatch } from "./watch.ts";

describe("a watch", () => {
  it("holds the latest value", () => {
    const watch = createWatch("a");
    watch.publish("b");
    expect(watch.current).toBe("b");
  });

  it("tells every later change, with the value before, and nothing at once", () => {
    const watch = createWatch("a");
    const heard: string[][] = [];
    watch.subscribe((next, previous) => heard.push([next, previous]));
    expect(heard).toEqual([]);
    watch.publish("b");
    watch.publish("c");
    expect(heard).toEqual([
      ["b", "a"],
      ["c", "b"],
    ]);
  });

  it("wakes nobody for the same value", () => {
    const value = {};
    const watch = createWatch(value);
    const listener = vi.fn();
    watch.subscribe(listener);
    watch.publish(value);
    expect(listener).not.toHaveBeenCalled();
  });

  it("stops telling who unsubscribed, also from within", () => {
    const watch = createWatch(0);
    const heard: number[] = [];
    const stop = watch.subscribe((next) => {
      heard.push(next);
      stop();
    });
    watch.publish(1);
    watch.publish(2);
    expect(heard).toEqual([1]);
  });

  it("shows its listeners the new value already", () => {
    const watch = createWatch(0);
    watch.subscribe((next) => expect(watch.current).toBe(next));
    watch.publish(1);
  });
});
