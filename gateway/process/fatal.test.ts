import { describe, expect, it } from "vitest";
import { exitCodeOf, listenProblem, renderFatal } from "./fatal.ts";

describe("renderFatal", () => {
  it("says what, why and the fix", () => {
    expect(renderFatal({ name: "port_in_use", detail: "127.0.0.1:15008 is taken" })).toBe(
      [
        "error[ISTH-6003]: the address is in use already",
        "why: 127.0.0.1:15008 is taken",
        "fix: stop the other process, or choose another port; 0 takes any free one",
      ].join("\n"),
    );
  });

  it("lists every issue with its suggestion", () => {
    const text = renderFatal({ name: "config_invalid", detail: "2 settings are wrong" }, [
      { path: "ISTHMUS_MEMBER", message: "is required" },
      { path: "ISTHMUS_LOG_LEVEL", message: '"inof" is unknown', suggestion: "info" },
    ]);
    expect(text).toContain("  ISTHMUS_MEMBER: is required\n");
    expect(text).toContain('  ISTHMUS_LOG_LEVEL: "inof" is unknown (did you mean "info"?)\n');
  });
});

describe("renderFatal of a file", () => {
  it("names the lines that the problem itself brings", () => {
    const text = renderFatal({
      name: "file_invalid",
      detail: "services.yaml has 2 mistakes",
      issues: [
        { line: 7, path: "spec.workloads[0].name", message: "is required" },
        { line: 9, path: "", message: "not YAML" },
      ],
    });
    expect(text).toContain("  line 7, spec.workloads[0].name: is required\n  line 9: not YAML\n");
  });
});

describe("exitCodeOf", () => {
  it.each([
    ["usage", 64],
    ["file_invalid", 65],
    ["state_unusable", 69],
    ["registry_unreachable", 2],
    ["join_token_spent", 1],
  ] as const)("%s ends with %i", (name, code) => {
    expect(exitCodeOf({ name, detail: "" })).toBe(code);
  });
});

describe("listenProblem", () => {
  it("tells a taken port from an address that cannot be bound", () => {
    const taken = Object.assign(new Error("listen EADDRINUSE"), { code: "EADDRINUSE" });
    const foreign = Object.assign(new Error("listen EADDRNOTAVAIL"), { code: "EADDRNOTAVAIL" });
    expect(listenProblem("127.0.0.1:1", taken).name).toBe("port_in_use");
    expect(listenProblem("10.9.9.9:1", foreign)).toMatchObject({ name: "config_invalid" });
  });
});
