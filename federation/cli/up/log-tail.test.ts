import { describe, expect, it } from "vitest";
import { findProblem } from "./log-tail.ts";
import { parseProcessMessage } from "./process-message.ts";

describe("the end of a process's log", () => {
  it("gives the reason that the process printed", () => {
    const lines = [
      '{"level":"info"}',
      "error[ISTH-6003]: the address is in use already",
      "why: 127.0.0.1:7070 is taken",
      "fix: stop the other process",
    ];
    expect(findProblem(lines)).toEqual({ name: "port_in_use", detail: "127.0.0.1:7070 is taken" });
  });

  it("gives none when there is none, or one that is not known", () => {
    expect(findProblem(['{"level":"info"}'])).toBeUndefined();
    expect(findProblem(["error[ISTH-9999]: from the future"])).toBeUndefined();
  });
});

describe("messages of a process", () => {
  const listener = { workload: "ns/a/sa/b", service: "c.d", port: 80, address: "127.0.0.1:1" };

  it("are read as far as they are understood", () => {
    const ready = { type: "ready", admin: "y" };
    expect(parseProcessMessage({ ...ready, listen: "x" })).toEqual(ready);
    const listeners = { type: "listeners", listeners: [listener] };
    expect(parseProcessMessage(listeners)).toEqual({ ...listeners, failures: [] });
    const failure = { workload: "ns/a/sa/b", service: "c.d", port: 81, code: "ISTH-6003", detail: "taken" };
    expect(parseProcessMessage({ ...listeners, failures: [failure, { code: 1 }, null] })).toEqual({
      ...listeners,
      failures: [failure],
    });
  });

  it.each([
    [null],
    ["ready"],
    [{}],
    [{ type: "else" }],
    [{ type: "listeners" }],
    [{ type: "listeners", listeners: [{ ...listener, port: "80" }] }],
  ])("are ignored otherwise: %j", (message) => {
    expect(parseProcessMessage(message)).toBeUndefined();
  });
});
