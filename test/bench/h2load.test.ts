import { describe, expect, it } from "vitest";
import { parseH2load } from "./h2load.ts";

const OUTPUT = `starting benchmark...
finished in 4.01s, 5544.53 req/s, 574.02KB/s
requests: 22240 total, 22300 started, 22240 done, 22238 succeeded, 2 failed, 1 errored, 0 timeout
status codes: 22237 2xx, 0 3xx, 1 4xx, 2 5xx
`;

describe("what h2load prints", () => {
  it("is read with everything that failed", () => {
    expect(parseH2load(OUTPUT)).toMatchObject({ requests: 22_240, seconds: 4.01, errors: 4 });
  });

  it("is refused when it has no total", () => {
    expect(() => parseH2load("could not connect")).toThrow("no total");
  });
});
