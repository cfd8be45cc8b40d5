import { describe, expect, it } from "vitest";
import { failureExit, renderFailure } from "./failure.ts";
import { PLAIN } from "./output/paint.ts";

describe("an error as it is printed", () => {
  it("gives the code, the particulars, the reason and the fix", () => {
    const failure = {
      name: "registry_unreachable",
      detail: "http://127.0.0.1:1: connection refused",
    } as const;
    expect(renderFailure(failure, PLAIN)).toBe(
      [
        "error[ISTH-6005]: http://127.0.0.1:1: connection refused",
        "why: the registry does not answer",
        "fix: check the URL and that the registry runs",
      ].join("\n"),
    );
  });

  it("prefers what is known of this case to the code's general words", () => {
    const failure = {
      name: "usage",
      detail: "which cluster?",
      why: "there are two",
      fix: "pass --cluster",
    } as const;
    expect(renderFailure(failure, PLAIN)).toBe(
      "error[ISTH-6009]: which cluster?\nwhy: there are two\nfix: pass --cluster",
    );
  });

  it("puts the registry's complaints about fields in front", () => {
    const issues = [{ path: "spec.form", message: "unknown field", suggestion: "from" }];
    expect(
      renderFailure({ name: "request_invalid", detail: "1 mistake", issues }, PLAIN).split("\n")[0],
    ).toBe('spec.form unknown field (did you mean "from"?)');
  });
});

describe("the exit code", () => {
  it.each([
    ["forbidden", 1],
    ["not_found", 1],
    ["registry_unreachable", 2],
    ["usage", 64],
    ["file_invalid", 65],
    ["port_in_use", 69],
  ] as const)("of %s is %d", (name, code) => {
    expect(failureExit({ name, detail: "" })).toBe(code);
  });

  it("can be given with the failure", () => {
    expect(failureExit({ name: "upstream_timeout", detail: "", exit: 124 })).toBe(124);
  });
});
