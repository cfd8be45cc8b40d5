import { describe, expect, test } from "vitest";
import type { ProblemName } from "../../../federation/model/problem.ts";
import { accepted, parse, withFields, withHost } from "../../../test/fakes/http1-text.ts";

const REFUSED: readonly (readonly [name: string, text: string, problem: ProblemName])[] = [
  ["a bare LF after the request line", "GET / HTTP/1.1\nHost: x\r\n\r\n", "http_malformed"],
  ["a bare LF after a field", "GET / HTTP/1.1\r\nHost: x\n\r\n", "http_malformed"],
  ["a bare LF for the empty line", "GET / HTTP/1.1\r\nHost: x\r\n\n", "http_malformed"],
  ["a bare CR in a value", withFields("X: a\rb"), "http_malformed"],
  ["a bare CR after a value", withFields("X: a\r\rY: b"), "http_malformed"],
  [
    "a bare CR where the empty line should be (llhttp's CVE-2025-23167)",
    "GET / HTTP/1.1\r\nHost: x\r\n\rX",
    "http_malformed",
  ],
  ["NUL in a value", withFields("X: a\0b"), "http_malformed"],
  ["NUL in a name", withFields("X\0: a"), "http_malformed"],
  ["a control byte in a value", withFields("X: a\x0bb"), "http_malformed"],
  ["DEL in a value", withFields("X: a\x7fb"), "http_malformed"],
  ["a folded line", withFields("X: a", " b"), "http_malformed"],
  ["a folded line after the request line", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", "http_malformed"],
  ["a space before the colon", withFields("X : a"), "http_malformed"],
  ["a space before Content-Length (CVE-2024-27982)", withFields(" Content-Length: 5"), "http_malformed"],
  ["a tab before the colon", withFields("X\t: a"), "http_malformed"],
  ["a field without a colon", withFields("X"), "http_malformed"],
  ["an empty field name", withFields(": a"), "http_malformed"],
  ["a slash in a field name", withFields("X/Y: a"), "http_malformed"],
  ["non-ASCII in a field name", withFields("X\xe9: a"), "http_malformed"],
  ["an empty method", " / HTTP/1.1\r\nHost: x\r\n\r\n", "http_malformed"],
  ["a method that is not a token", "G(T / HTTP/1.1\r\nHost: x\r\n\r\n", "http_malformed"],
  ["two spaces before the target", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "http_malformed"],
  ["a tab before the target", "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", "http_malformed"],
  ["a space in the target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", "http_malformed"],
  ["non-ASCII in the target", "GET /\xe9 HTTP/1.1\r\nHost: x\r\n\r\n", "http_malformed"],
  ["a control byte in the target", "GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n", "http_malformed"],
  ["a fragment in the target", "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", "http_malformed"],
  ["a target without a slash", "GET a HTTP/1.1\r\nHost: x\r\n\r\n", "http_malformed"],
  ["`*` for another method than OPTIONS", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", "http_malformed"],
  ["a second empty line before the request", `\r\n\r\n${withHost("x")}`, "http_malformed"],
  ["a TLS ClientHello", "\x16\x03\x01\x02\0\x01\0", "http_malformed"],
  ["a space after the version", "GET / HTTP/1.1 \r\nHost: x\r\n\r\n", "http_malformed"],

  ["HTTP/2.0", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", "http_version"],
  ["the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http_version"],
  ["HTTP/1.2", "GET / HTTP/1.2\r\nHost: x\r\n\r\n", "http_version"],
  ["HTTP/0.9", "GET /\r\n", "http_version"],
  ["HTTP/01.1", "GET / HTTP/01.1\r\nHost: x\r\n\r\n", "http_version"],
  ["a lower-case version", "GET / http/1.1\r\nHost: x\r\n\r\n", "http_version"],
  ["a version cut short", "GET / HTTP\r\nHost: x\r\n\r\n", "http_version"],
  ["CONNECT", "CONNECT cart.shop:80 HTTP/1.1\r\nHost: cart.shop:80\r\n\r\n", "http_method"],
  ["TRACE", "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", "http_method"],

  ["no Host", "GET / HTTP/1.1\r\n\r\n", "http_host"],
  ["two Host fields", withFields("Host: cart.shop"), "http_host"],
  ["two Host fields in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "http_host"],
  ["an absolute-form target", "GET http://cart.shop/ HTTP/1.1\r\nHost: cart.shop\r\n\r\n", "http_host"],
  ["an absolute-form target that contradicts Host", "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", "http_host"],
  ["Connection naming Host", withFields("Connection: close, host"), "http_host"],
  ["an empty Host", withHost(""), "http_host"],
  ["a Host with user information", withHost("user@cart.shop"), "http_host"],
  ["a Host with a space", withHost("cart shop"), "http_host"],
  ["a Host with a slash", withHost("cart.shop/x"), "http_host"],
  ["a Host list", withHost("a,b"), "http_host"],
  ["a Host with a trailing dot", withHost("cart.shop."), "http_host"],
  ["a Host with a trailing dot before its port", withHost("cart.shop.:80"), "http_host"],
  ["a Host with a leading dot", withHost(".cart.shop"), "http_host"],
  ["a Host with an empty label", withHost("cart..shop"), "http_host"],
  ["a Host with percent-encoding", withHost("c%61rt.shop"), "http_host"],
  ["a Host with obs-text", withHost("caf\xe9.shop"), "http_host"],
  ["a Host with an empty port", withHost("cart.shop:"), "http_host"],
  ["a Host with a port that is no number", withHost("cart.shop:8o"), "http_host"],
  ["a Host with a port above 65535", withHost("cart.shop:65536"), "http_host"],
  ["a Host with two ports", withHost("cart.shop:80:80"), "http_host"],
  ["a Host with an unclosed bracket", withHost("[::1"), "http_host"],
  ["a Host with something behind its bracket", withHost("[::1]x"), "http_host"],
  ["a Host with a zone", withHost("[fe80::1%eth0]"), "http_host"],
  ["a Host of more than 253 characters", withHost("a".repeat(254)), "http_host"],

  [
    "Content-Length and Transfer-Encoding",
    withFields("Content-Length: 5", "Transfer-Encoding: chunked"),
    "http_framing",
  ],
  [
    "Transfer-Encoding and Content-Length",
    withFields("Transfer-Encoding: chunked", "Content-Length: 5"),
    "http_framing",
  ],
  ["two different Content-Length", withFields("Content-Length: 5", "Content-Length: 6"), "http_framing"],
  ["two equal Content-Length", withFields("Content-Length: 5", "content-length: 5"), "http_framing"],
  ["a Content-Length list", withFields("Content-Length: 5,5"), "http_framing"],
  ["a Content-Length list with a space", withFields("Content-Length: 5, 5"), "http_framing"],
  ["a signed Content-Length", withFields("Content-Length: +5"), "http_framing"],
  ["a negative Content-Length", withFields("Content-Length: -5"), "http_framing"],
  ["a hexadecimal Content-Length", withFields("Content-Length: 0x5"), "http_framing"],
  ["a Content-Length with an underscore", withFields("Content-Length: 1_0"), "http_framing"],
  ["a Content-Length with a fraction", withFields("Content-Length: 5.0"), "http_framing"],
  ["a Content-Length with an exponent", withFields("Content-Length: 5e0"), "http_framing"],
  ["a Content-Length with a space inside", withFields("Content-Length: 5 5"), "http_framing"],
  ["a Content-Length in other digits", withFields("Content-Length: \xb2"), "http_framing"],
  ["an empty Content-Length", withFields("Content-Length:"), "http_framing"],
  ["a Content-Length of 16 digits", withFields("Content-Length: 9007199254740993"), "http_framing"],
  ["a tab before a Content-Length", withFields("Content-Length:\t5"), "http_framing"],
  ["a tab after chunked, which llhttp refuses", withFields("Transfer-Encoding: chunked\t"), "http_framing"],
  [
    "Transfer-Encoding in HTTP/1.0",
    "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    "http_framing",
  ],
  ["an empty Transfer-Encoding", withFields("Transfer-Encoding:"), "http_framing"],
  [
    "Connection naming Content-Length",
    withFields("Content-Length: 5", "Connection: Content-Length"),
    "http_framing",
  ],
  ["Connection naming Transfer-Encoding", withFields("Connection: transfer-encoding"), "http_framing"],

  ["an unknown expectation", withFields("Expect: 200-maybe"), "http_expectation"],
  ["two expectations", withFields("Expect: 100-continue", "Expect: 100-continue"), "http_expectation"],
  ["a Connection option that is no token", withFields("Connection: close; now"), "http_malformed"],
  ["33 connection options", withFields(`Connection: ${"x,".repeat(33)}`), "http_malformed"],
  ["101 fields", withFields(...Array.from({ length: 100 }, () => "X: y")), "http_head_too_large"],
  [
    "2,200 fields (CVE-2026-58044)",
    withFields(...Array.from({ length: 2199 }, () => "X: y")),
    "http_head_too_large",
  ],
  ["100 KiB of fields", withFields(`X: ${"y".repeat(100 * 1024)}`), "http_head_too_large"],
  ["a head one byte over the limit", sizedHead(32 * 1024 + 1), "http_head_too_large"],
  ["an endless request line", `GET /${"a".repeat(40_000)}`, "http_head_too_large"],
];

/** A head of exactly so many bytes. */
function sizedHead(bytes: number): string {
  const empty = withFields("X: ");
  return withFields(`X: ${"y".repeat(bytes - empty.length)}`);
}

describe("a request head is refused for", () => {
  test.each(REFUSED)("%s", (_, text, problem) => {
    expect(parse(text)).toMatchObject({ kind: "invalid", problem });
  });

  // Every coding but the plain one: what a server makes of it is a guess, and guesses differ.
  test.each([
    "xchunked",
    "chunkedx",
    "chunked, identity",
    "identity, chunked",
    "gzip, chunked",
    "chunked, chunked",
    "identity",
    "gzip",
    ",chunked",
    "chunked,",
    "chunked;q=1",
    '"chunked"',
    "chun ked",
    "chunked\xa0",
    "chunked chunked",
    "\xffchunked",
  ])("Transfer-Encoding: %j", (value) => {
    expect(parse(withFields(`Transfer-Encoding: ${value}`))).toMatchObject({ problem: "http_framing" });
  });

  test("two Transfer-Encoding fields", () => {
    const outcome = parse(withFields("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"));
    expect(outcome).toMatchObject({ problem: "http_framing" });
  });

  test("the first of several faults, and says where it is", () => {
    const outcome = parse(withFields("Good: 1", "Bad : 2", "Worse\0: 3"));
    expect(outcome).toMatchObject({ detail: "white space before the colon at offset 3 of field line 3" });
  });
});

describe("a head at the limit", () => {
  test("of 100 fields is accepted", () => {
    expect(parse(withFields(...Array.from({ length: 99 }, () => "X: y"))).kind).toBe("head");
  });

  test("of 32 KiB is accepted", () => {
    expect(accepted(sizedHead(32 * 1024)).byteLength).toBe(32 * 1024);
  });
});
