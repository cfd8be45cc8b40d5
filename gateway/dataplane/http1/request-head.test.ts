import { describe, expect, test } from "vitest";
import { fieldValue, headFields } from "./head-fields.ts";
import { parseRequestHead, type RequestHead } from "./request-head.ts";
import { accepted, parse, withFields, withHost } from "../../../test/fakes/http1-text.ts";

describe("a request head", () => {
  test("is taken apart into what a proxy decides by", () => {
    const head = accepted("GET /a?b=c HTTP/1.1\r\nHost: Cart.Shop:80\r\nAccept: */*\r\n\r\nrest");
    expect(head).toMatchObject({
      method: "GET",
      target: "/a?b=c",
      host: "cart.shop:80",
      minor: 1,
      body: { kind: "none" },
      keepAlive: true,
      expectContinue: false,
      upgrade: undefined,
      via: undefined,
      byteLength: 56,
    });
    expect(headFields(head)).toEqual(["host", "Cart.Shop:80", "accept", "*/*"]);
  });

  test("that needs no change is forwarded as it came, less the final empty line", () => {
    const sent = "GET / HTTP/1.1\r\nHOST: x\r\nX-Empty:\r\nX-Odd:  two  \r\n";
    expect(accepted(`${sent}\r\n`).forwardable).toBe(sent);
  });

  test("is found at an offset, and bytes behind `end` are not looked at", () => {
    const buffer = Buffer.from(`\n\n${withHost("x")}\n\n`, "latin1");
    const outcome = parseRequestHead(buffer, 2, buffer.length - 2);
    expect(outcome).toMatchObject({ kind: "head", head: { host: "x", byteLength: buffer.length - 4 } });
    expect(parseRequestHead(buffer, 2, buffer.length - 3)).toEqual({ kind: "need-more" });
  });

  test("may follow one empty line, which is consumed and not forwarded", () => {
    const head = accepted(`\r\n${withHost("x")}`);
    expect(head.byteLength).toBe(withHost("x").length + 2);
    expect(head.forwardable).toBe("GET / HTTP/1.1\r\nHost: x\r\n");
  });

  test("keeps obs-text in values byte for byte", () => {
    const head = accepted(withFields("X-Name: caf\xe9 \xff"));
    expect(fieldValue(head, "x-name")).toBe("caf\xe9 \xff");
    expect(head.forwardable).toContain("X-Name: caf\xe9 \xff\r\n");
  });

  test("trims spaces and tabs around a value, but not a no-break space", () => {
    expect(fieldValue(accepted(withFields("X: \t\xa0y\xa0\t ")), "x")).toBe("\xa0y\xa0");
  });

  test("may carry a field named __proto__ like any other", () => {
    const head = accepted(withFields("__proto__: polluted", "constructor: x"));
    expect(fieldValue(head, "__proto__")).toBe("polluted");
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  test("joins the Via values", () => {
    expect(accepted(withFields("Via: 1.1 a", "via: 1.1 b")).via).toBe("1.1 a, 1.1 b");
  });

  test("may ask OPTIONS of `*`", () => {
    expect(accepted("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").target).toBe("*");
  });

  test("may use a method we do not know", () => {
    expect(accepted("BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n").method).toBe("BREW");
  });
});

describe("the Host field", () => {
  test.each([
    "cart.shop",
    "cart",
    "127.0.0.1:18080",
    "[::1]",
    "[2001:db8::1]:443",
    "a_b.c-d",
    "x:65535",
    "x:1",
  ])("may be %s", (host) => {
    expect(accepted(withHost(host)).host).toBe(host);
  });

  test("may be absent in HTTP/1.0", () => {
    expect(accepted("GET / HTTP/1.0\r\n\r\n")).toMatchObject({ host: "", minor: 0 });
  });
});

describe("the body", () => {
  const rows: readonly (readonly [string, RequestHead["body"], string])[] = [
    ["Content-Length: 5", { kind: "length", length: 5 }, "Content-Length: 5"],
    ["content-length: 0", { kind: "none" }, "content-length: 0"],
    ["Content-Length:  5", { kind: "length", length: 5 }, "content-length: 5"],
    ["Content-Length: 5 ", { kind: "length", length: 5 }, "content-length: 5"],
    ["Content-Length: 0005", { kind: "length", length: 5 }, "content-length: 5"],
    ["Content-Length: 000", { kind: "none" }, "content-length: 0"],
    [
      "Content-Length: 999999999999999",
      { kind: "length", length: 999_999_999_999_999 },
      "Content-Length: 999999999999999",
    ],
    ["Transfer-Encoding: chunked", { kind: "chunked" }, "Transfer-Encoding: chunked"],
    ["Transfer-Encoding: CHUNKED", { kind: "chunked" }, "transfer-encoding: chunked"],
    ["transfer-encoding:chunked", { kind: "chunked" }, "transfer-encoding: chunked"],
  ];
  test.each(rows)("of %j is %j and goes on as %j", (line, body, forwarded) => {
    const head = accepted(withFields("A: 1", line, "B: 2"));
    expect(head.body).toEqual(body);
    const framing = head.forwardable
      .split("\r\n")
      .filter((text) => /^(?:content-length|transfer-encoding)/i.test(text));
    expect(framing).toEqual([forwarded]);
  });

  test("is absent without either field", () => {
    expect(accepted(withFields()).body).toEqual({ kind: "none" });
  });
});

describe("the connection", () => {
  test.each([
    [[], true],
    [["Connection: close"], false],
    [["Connection: keep-alive, CLOSE"], false],
    [["Connection: keep-alive", "Connection: close"], false],
    [["Connection: keep-alive"], true],
    [["Connection: ,,"], true],
  ])("with %j persists: %j", (lines, keepAlive) => {
    expect(accepted(withFields(...lines)).keepAlive).toBe(keepAlive);
  });

  test("never persists for HTTP/1.0, whatever it asks: RFC 9112, 9.3 forbids that to proxies", () => {
    const head = accepted("GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n");
    expect(head.keepAlive).toBe(false);
    expect(head.forwardable).toBe("GET / HTTP/1.0\r\nHost: x\r\n");
  });
});

describe("what is forwarded", () => {
  const rows: readonly (readonly [string, readonly string[]])[] = [
    ["Connection and each field it names", ["Connection: X-Hop, keep-alive", "X-Hop: 1", "Keep-Alive: 5"]],
    [
      "fields that a second Connection field names",
      ["X-A: 1", "Connection: x-b", "X-B: 2", "Connection: x-a"],
    ],
    ["Proxy-Connection", ["Proxy-Connection: keep-alive"]],
    ["proxy credentials", ["Proxy-Authorization: Basic YQ==", "Proxy-Authenticate: Basic"]],
    ["TE that asks for more than trailers", ["TE: trailers, gzip"]],
    ["an upgrade that Connection does not name", ["Upgrade: websocket"]],
    [
      "an upgrade to h2c, which would hide requests from us",
      ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA"],
    ],
    ["an upgrade to a list of protocols", ["Connection: upgrade", "Upgrade: websocket, h2c"]],
    ["an upgrade of a request with a body", ["Connection: upgrade", "Upgrade: websocket"]],
    ["an expectation where there is no body", ["Expect: 100-continue"]],
    ["x-forwarded-client-cert", ["X-Forwarded-Client-Cert: By=spiffe://east.demo.mesh/ns/a/sa/b"]],
    ["x_forwarded_client_cert", ["X_Forwarded_Client_Cert: forged"]],
    ["identity with some dashes replaced", ["x-forwarded_client-CERT: forged"]],
    [
      "identity that Connection names as well",
      ["Connection: x-forwarded-client-cert", "x-forwarded-client-cert: forged"],
    ],
    ["every isthmus- field", ["Isthmus-Caller: forged", "ISTHMUS-x: 1", "isthmus_caller: forged"]],
    [
      "certificates by RFC 9440 and linkerd's client id",
      ["Client-Cert: :YQ==:", "client-cert-chain: :YQ==:", "l5d-client-id: a"],
    ],
    ["framing and Host behind an underscore", ["Content_Length: 5", "Transfer_Encoding: chunked"]],
  ];
  test.each(rows)("leaves out %s", (name, lines) => {
    const framing = name.includes("with a body") ? ["Content-Length: 5"] : [];
    const head = accepted(withFields("Before: 1", ...lines, "After: 2", ...framing));
    expect(head.forwardable).toBe(
      ["POST /a HTTP/1.1", "Host: cart.shop", "Before: 1", "After: 2", ...framing, ""].join("\r\n"),
    );
    expect(head.upgrade).toBeUndefined();
  });

  test("keeps `TE: trailers`, since trailers are forwarded", () => {
    const head = accepted(withFields("Connection: TE", "TE: trailers"));
    expect(head.forwardable).toBe("POST /a HTTP/1.1\r\nHost: cart.shop\r\nTE: trailers\r\n");
  });

  test("keeps Via even if Connection names it: a client may not hide a loop", () => {
    const head = accepted(withFields("Connection: via", "Via: 1.1 a"));
    expect(head.via).toBe("1.1 a");
    expect(head.forwardable).toContain("Via: 1.1 a\r\n");
  });

  test("keeps a wish to upgrade, with its Connection option in our spelling", () => {
    const head = accepted(
      withFields("Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Key: k"),
    );
    expect(head.upgrade).toBe("WebSocket");
    expect(head.forwardable).toBe(
      "POST /a HTTP/1.1\r\nHost: cart.shop\r\nSec-WebSocket-Key: k\r\nconnection: upgrade\r\nupgrade: WebSocket\r\n",
    );
  });

  test("keeps `Expect: 100-continue` where a body follows", () => {
    const head = accepted(withFields("Expect: 100-Continue", "Content-Length: 5"));
    expect(head.expectContinue).toBe(true);
    expect(head.forwardable).toContain("Expect: 100-Continue\r\n");
  });

  test("leaves out an expectation in HTTP/1.0, which has none", () => {
    const head = accepted("POST / HTTP/1.0\r\nExpect: anything\r\nContent-Length: 5\r\n\r\n");
    expect(head.expectContinue).toBe(false);
    expect(head.forwardable).toBe("POST / HTTP/1.0\r\nContent-Length: 5\r\n");
  });
});

describe("a head that arrives in pieces", () => {
  const text = withFields("X: y", "Content-Length: 5");

  test("needs more at every byte short of its end, at no allocation", () => {
    const buffer = Buffer.from(text, "latin1");
    const first = parseRequestHead(buffer, 0, 0);
    for (let end = 1; end < buffer.length; end++) {
      expect(parseRequestHead(buffer, 0, end, undefined, end - 1)).toBe(first);
    }
    expect(parseRequestHead(buffer, 0, buffer.length, undefined, buffer.length - 1)).toEqual(parse(text));
  });

  test("is refused at the limit even if no line ever ended", () => {
    const buffer = Buffer.from("a".repeat(32 * 1024), "latin1");
    const last = parseRequestHead(buffer, 0, buffer.length, undefined, buffer.length - 1);
    expect(last).toMatchObject({ problem: "http_head_too_large" });
  });

  test("is refused as soon as the broken line is complete", () => {
    const buffer = Buffer.from("GET / HTTP/1.1\r\nBad : x\r\n", "latin1");
    expect(parseRequestHead(buffer, 0, buffer.length, undefined, 20)).toMatchObject({
      problem: "http_malformed",
    });
  });
});
