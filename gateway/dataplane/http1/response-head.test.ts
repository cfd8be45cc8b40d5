import { describe, expect, test } from "vitest";
import { fieldValue } from "./head-fields.ts";
import type { HeadOutcome } from "./outcome.ts";
import { type AnsweredRequest, parseResponseHead, type ResponseHead } from "./response-head.ts";

const GET: AnsweredRequest = { method: "GET" };
const WEBSOCKET: AnsweredRequest = { method: "GET", upgrade: "websocket" };

function parse(text: string, request = GET): HeadOutcome<ResponseHead> {
  const buffer = Buffer.from(text, "latin1");
  return parseResponseHead(buffer, 0, buffer.length, request);
}

function accepted(text: string, request = GET): ResponseHead {
  const outcome = parse(text, request);
  if (outcome.kind !== "head") throw new Error(`not a head: ${JSON.stringify(outcome)}`);
  return outcome.head;
}

function response(start: string, ...lines: readonly string[]): string {
  return [start, ...lines, "", ""].join("\r\n");
}

const OK = "HTTP/1.1 200 OK";

describe("a response head", () => {
  test("is taken apart into status, length and fate of the connection", () => {
    const head = accepted(response(OK, "Content-Length: 5", "Via: 1.1 b"));
    expect(head).toMatchObject({
      status: 200,
      minor: 1,
      body: { kind: "length", length: 5 },
      keepAlive: true,
      interim: false,
      upgrade: undefined,
      forwardable: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nVia: 1.1 b\r\n",
      byteLength: 50,
    });
    expect(fieldValue(head, "via")).toBe("1.1 b");
    expect(fieldValue(head, "server")).toBeUndefined();
  });

  test("leaves what follows it: a second response is the caller's to drop", () => {
    const first = response(OK, "Content-Length: 0");
    expect(accepted(first + response("HTTP/1.1 200 Poison", "Content-Length: 0")).byteLength).toBe(
      first.length,
    );
  });

  test("goes on without what belongs to the upstream connection or speaks in our name", () => {
    const lines = [
      "Connection: keep-alive, X-Hop",
      "Keep-Alive: timeout=5",
      "X-Hop: 1",
      "isthmus-code: ISTH-2001",
    ];
    const head = accepted(response(OK, ...lines, "Content-Length: 5", "Upgrade: h2c", "X: y"));
    expect(head.forwardable).toBe("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n");
  });

  test.each([
    ["HTTP/1.0 200 OK", "HTTP/1.1 200 OK"],
    ["HTTP/1.1 200", "HTTP/1.1 200 "],
    ["HTTP/1.1 200 ", "HTTP/1.1 200 "],
    ["HTTP/1.0 404 Not  Found", "HTTP/1.1 404 Not  Found"],
    ["HTTP/1.1 200 caf\xe9", "HTTP/1.1 200 caf\xe9"],
    ["HTTP/1.1 999 Whatever", "HTTP/1.1 999 Whatever"],
  ])("beginning with %j goes on with %j", (sent, forwarded) => {
    expect(accepted(response(sent, "X: y")).forwardable).toBe(`${forwarded}\r\nX: y\r\n`);
  });
});

describe("the body of a response", () => {
  const rows: readonly (readonly [string, string, readonly string[], ResponseHead["body"], boolean])[] = [
    ["GET", OK, ["Content-Length: 5"], { kind: "length", length: 5 }, true],
    ["GET", OK, ["Content-Length: 0"], { kind: "none" }, true],
    ["GET", OK, ["Transfer-Encoding: chunked"], { kind: "chunked" }, true],
    ["GET", OK, ["Content-Length: 5", "Connection: close"], { kind: "length", length: 5 }, false],
    ["GET", OK, [], { kind: "until-close" }, false],
    ["GET", OK, ["Connection: keep-alive"], { kind: "until-close" }, false],
    ["GET", "HTTP/1.0 200 OK", ["Content-Length: 5"], { kind: "length", length: 5 }, false],
    [
      "GET",
      "HTTP/1.0 200 OK",
      ["Content-Length: 5", "Connection: Keep-Alive"],
      { kind: "length", length: 5 },
      true,
    ],
    ["HEAD", OK, ["Content-Length: 5"], { kind: "none" }, true],
    ["HEAD", OK, ["Transfer-Encoding: chunked"], { kind: "none" }, true],
    ["HEAD", OK, [], { kind: "none" }, true],
    ["GET", "HTTP/1.1 304 Not Modified", ["Content-Length: 5"], { kind: "none" }, true],
    ["GET", "HTTP/1.1 204 No Content", [], { kind: "none" }, true],
    ["GET", "HTTP/1.1 100 Continue", [], { kind: "none" }, true],
  ];
  test.each(rows)(
    "to %s after %j with %j is %j, and persists: %j",
    (method, start, lines, body, keepAlive) => {
      expect(accepted(response(start, ...lines), { method })).toMatchObject({ body, keepAlive });
    },
  );

  test.each(["HTTP/1.1 204 No Content", "HTTP/1.1 103 Early Hints"])(
    "that %j may not have is neither announced nor waited for, and the connection is given up",
    (start) => {
      for (const line of ["Content-Length: 5", "Transfer-Encoding: chunked"]) {
        const head = accepted(response(start, line));
        expect(head).toMatchObject({ body: { kind: "none" }, keepAlive: false, forwardable: `${start}\r\n` });
      }
    },
  );

  test("keeps its length field in a response to HEAD", () => {
    expect(accepted(response(OK, "Content-Length: 5"), { method: "HEAD" }).forwardable).toContain(
      "Content-Length: 5",
    );
  });
});

describe("an interim response", () => {
  test.each([100, 102, 103])("is %d", (status) => {
    expect(accepted(response(`HTTP/1.1 ${status} Wait`)).interim).toBe(true);
  });

  test("is not 101, which ends HTTP on this connection", () => {
    const head = accepted(
      response("HTTP/1.1 101 Go", "Connection: Upgrade", "Upgrade: WebSocket", "X: y"),
      WEBSOCKET,
    );
    expect(head).toMatchObject({
      interim: false,
      upgrade: "WebSocket",
      keepAlive: false,
      body: { kind: "none" },
    });
    expect(head.forwardable).toBe("HTTP/1.1 101 Go\r\nX: y\r\nconnection: upgrade\r\nupgrade: WebSocket\r\n");
  });

  test("leaves an upgrade that the server refused an ordinary response", () => {
    const head = accepted(
      response(OK, "Content-Length: 2", "Connection: upgrade", "Upgrade: websocket"),
      WEBSOCKET,
    );
    expect(head).toMatchObject({ upgrade: undefined, keepAlive: true, body: { kind: "length", length: 2 } });
  });
});

describe("a response head is refused for", () => {
  const upgraded = response("HTTP/1.1 101 Go", "Connection: upgrade", "Upgrade: websocket");
  const rows: readonly (readonly [string, string, AnsweredRequest?])[] = [
    ["101 to a request that did not ask", upgraded],
    ["101 to another protocol", upgraded, { method: "GET", upgrade: "tcp" }],
    ["101 without Upgrade", response("HTTP/1.1 101 Go", "Connection: upgrade"), WEBSOCKET],
    ["101 without Connection", response("HTTP/1.1 101 Go", "Upgrade: websocket"), WEBSOCKET],
    ["Content-Length and Transfer-Encoding", response(OK, "Content-Length: 5", "Transfer-Encoding: chunked")],
    [
      "the same even to HEAD",
      response(OK, "Content-Length: 5", "Transfer-Encoding: chunked"),
      { method: "HEAD" },
    ],
    ["two Content-Length", response(OK, "Content-Length: 5", "Content-Length: 5")],
    ["a Content-Length list", response(OK, "Content-Length: 5, 5")],
    ["another coding than chunked", response(OK, "Transfer-Encoding: gzip, chunked")],
    ["Transfer-Encoding in HTTP/1.0", response("HTTP/1.0 200 OK", "Transfer-Encoding: chunked")],
    ["Connection naming a framing field", response(OK, "Content-Length: 5", "Connection: content-length")],
    ["another protocol", "SSH-2.0-OpenSSH_9.2\r\n"],
    ["HTTP/2", response("HTTP/2.0 200 OK")],
    ["HTTP/1.2", response("HTTP/1.2 200 OK")],
    ["a status of two digits", response("HTTP/1.1 20 OK")],
    ["a status of four digits", response("HTTP/1.1 2000 OK")],
    ["a status below 100", response("HTTP/1.1 099 OK")],
    ["a status that is no number", response("HTTP/1.1 2x0 OK")],
    ["two spaces before the status", response("HTTP/1.1  200 OK")],
    ["a line cut short", "HTTP/1.1\r\n"],
    ["an empty line before it", `\r\n${response(OK)}`],
    ["a control byte in the reason", response("HTTP/1.1 200 O\x01K")],
    ["a bare LF after the status line", "HTTP/1.1 200 OK\nX: y\r\n\r\n"],
    ["a bare CR in the reason", response("HTTP/1.1 200 O\rK")],
    ["a folded line", response(OK, "X: a", " b")],
    ["a space before the colon", response(OK, "X : a")],
    ["101 fields", response(OK, ...Array.from({ length: 101 }, () => "X: y"))],
    ["more than 32 KiB", response(OK, `X: ${"y".repeat(33_000)}`)],
    ["a reason of 40 KiB", `HTTP/1.1 200 ${"y".repeat(40_000)}`],
  ];
  test.each(rows.map(([name, text, request]) => ({ name, text, request })))("$name", ({ text, request }) => {
    expect(parse(text, request)).toMatchObject({ kind: "invalid", problem: "upstream_malformed" });
  });
});

test("a response head needs more at every byte short of its end", () => {
  const buffer = Buffer.from(response(OK, "Content-Length: 5", "X: y"), "latin1");
  for (let end = 0; end < buffer.length; end++) {
    expect(parseResponseHead(buffer, 0, end, GET)).toEqual({ kind: "need-more" });
    expect(parseResponseHead(buffer, 0, end, GET, undefined, Math.max(0, end - 1))).toEqual({
      kind: "need-more",
    });
  }
});
