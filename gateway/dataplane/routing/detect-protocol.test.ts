import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { detectAtLast, detectProtocol } from "./detect-protocol.ts";

const bytes = (text: string): Buffer => Buffer.from(text, "latin1");

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const CLIENT_HELLO = "\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03";

describe("detectProtocol", () => {
  it.each([
    ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "http1"],
    ["POST /a?b=c%20d HTTP/1.0\r\n", "http1"],
    ["QUERY * HTTP/1.1\n", "http1"],
    ["CONNECT cart.shop:80 HTTP/1.1\r\n", "http1"],
    ["GET / HTTP/9.9\r\n", "http1"], // the parser says what is wrong with it
    ["GET /has spaces HTTP/1.1\r\n", "http1"], // likewise
    [PREFACE, "http2"],
    [CLIENT_HELLO, "tls"],
    ["GET key\r\n", "tcp"], // Redis inline, memcached
    ["EHLO mail.example\r\n", "tcp"],
    ["*1\r\n$4\r\nPING\r\n", "tcp"],
    ["get / HTTP/1.1\r\n", "tcp"], // methods are case-sensitive and upper-case
    ["\x00\x00\x00\x08\x04\xd2\x16\x2f", "tcp"], // PostgreSQL's SSLRequest
    ["SSH-2.0-OpenSSH_9.2\r\n", "tcp"],
    ["\x16\x01", "tcp"],
    ["PRI * HTTP/1.1\r\n", "http1"],
    ["GET \x00", "tcp"],
    ["HTTP/1.1 200 OK\r\n", "tcp"],
    ["GET HTTP/1.1\r\n", "tcp"],
    ["A".repeat(64), "tcp"],
    [`GET /${"a".repeat(9_000)}`, "http1"],
    ["", "more"],
    ["\x16", "more"],
    ["GE", "more"],
    ["GET /a", "more"],
    [PREFACE.slice(0, 23), "more"],
  ])("%j is %s", (text, expected) => {
    expect(detectProtocol(bytes(text))).toBe(expected);
  });

  it("never changes its mind: a verdict on the first bytes is the verdict on all of them", () => {
    const starts = fc.constantFrom("", "GET ", "GET / HTTP/1.1", PREFACE, CLIENT_HELLO, "GET key");
    const tail = fc.uint8Array({ maxLength: 64 });
    fc.assert(
      fc.property(starts, tail, fc.nat(), (start, rest, cut) => {
        const whole = Buffer.concat([bytes(start), rest]);
        const early = detectProtocol(whole.subarray(0, cut % (whole.length + 1)));
        if (early !== "more") expect(detectProtocol(whole)).toBe(early);
      }),
      { seed: 64, numRuns: 2_000 },
    );
  });
});

describe("detectAtLast", () => {
  it.each([
    ["", "tcp"],
    ["GET /slow", "http1"],
    ["PATCH ", "http1"],
    ["GE", "http1"], // a slow client must not get around rules for requests
    ["PRI * HTT", "http2"],
    ["\x16", "tcp"],
    ["EHLO mail", "tcp"],
    ["GET key\r\n", "tcp"],
    ["STATS", "tcp"],
  ])("%j is %s", (text, expected) => {
    expect(detectAtLast(bytes(text))).toBe(expected);
  });
});
