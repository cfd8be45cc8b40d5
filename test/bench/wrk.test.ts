import { describe, expect, it } from "vitest";
import { parseDuration, parseWrk } from "./wrk.ts";

const CLEAN = `Running 4s test @ http://127.0.0.1:18080/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     3.98ms  312.52us  12.11ms   93.75%
    Req/Sec    16.11k   452.23    16.89k    87.50%
  Latency Distribution
     50%    3.93ms
     75%    4.04ms
     90%    4.18ms
     99%    5.25ms
  64123 requests in 4.00s, 15.47MB read
Requests/sec:  16021.22
Transfer/sec:      3.86MB
`;

describe("wrk output", () => {
  it("yields requests, seconds and latency in milliseconds", () => {
    expect(parseWrk(CLEAN)).toEqual({ requests: 64_123, seconds: 4, p50Ms: 3.93, p99Ms: 5.25, errors: 0 });
  });

  it("reads percentiles of more than a second, which wrk prints with a blank behind", () => {
    expect(parseWrk(CLEAN.replace("99%    5.25ms", "99%    1.06s ")).p99Ms).toBe(1060);
  });

  it("adds up socket errors and bad answers", () => {
    const output = `${CLEAN}  Socket errors: connect 1, read 20, write 300, timeout 4000\n  Non-2xx or 3xx responses: 50000\n`;
    expect(parseWrk(output).errors).toBe(54_321);
  });

  it("is an error when wrk could not run at all", () => {
    expect(() => parseWrk("unable to connect to 127.0.0.1:1 Connection refused")).toThrow(/no total/);
  });

  it.each([
    ["812.50us", 812.5e-6],
    ["1.25ms", 1.25e-3],
    ["4.00s", 4],
    ["1.50m", 90],
  ])("reads %s", (text, seconds) => {
    expect(parseDuration(text)).toBeCloseTo(seconds, 9);
  });

  it("refuses a duration without a unit", () => {
    expect(() => parseDuration("12")).toThrow(/not a duration/);
  });
});
