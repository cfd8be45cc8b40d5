import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { withFields, withHost } from "../../../test/fakes/http1-text.ts";
import { DEFAULT_HEAD_LIMITS } from "./outcome.ts";
import { parseRequestHead } from "./request-head.ts";
import { RequestHeadReader } from "./request-head-reader.ts";

const bytes = (text: string): Buffer => Buffer.from(text, "latin1");

function read(reader: RequestHeadReader, text: string, forms: "origin" | "proxy" = "origin") {
  const buffer = bytes(text);
  const outcome = reader.read(buffer, 0, buffer.length, 0, forms);
  if (outcome.kind !== "head") throw new Error(JSON.stringify(outcome));
  return outcome.head;
}

describe("the heads of one connection", () => {
  test("are the same object from the third time on, whatever comes behind them", () => {
    const reader = new RequestHeadReader(DEFAULT_HEAD_LIMITS);
    const [first, second] = [read(reader, withHost("x")), read(reader, withHost("x"))];
    expect(second).not.toBe(first);
    expect(read(reader, `${withHost("x")}GET /more`)).toBe(second);
  });

  test("are read again when one byte differs", () => {
    const reader = new RequestHeadReader(DEFAULT_HEAD_LIMITS);
    for (let round = 0; round < 3; round++) read(reader, withHost("xa"));
    expect(read(reader, withHost("xb")).host).toBe("xb");
    expect(read(reader, withHost("xa")).host).toBe("xa");
  });

  test("do not outlive the buffer that they were read from", () => {
    const reader = new RequestHeadReader(DEFAULT_HEAD_LIMITS);
    const text = withHost("xa");
    const lent = bytes(text);
    for (let round = 0; round < 2; round++) reader.read(lent, 0, lent.length);
    lent.fill(0x20);
    expect(reader.read(lent, 0, lent.length)).toMatchObject({ kind: "invalid" });
    expect(read(reader, text).host).toBe("xa");
  });

  test("of a proxy client are not taken for those of another, which may not say as much", () => {
    const reader = new RequestHeadReader(DEFAULT_HEAD_LIMITS);
    const absolute = "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n";
    for (let round = 0; round < 3; round++) read(reader, absolute, "proxy");
    const buffer = bytes(absolute);
    expect(reader.read(buffer, 0, buffer.length)).toMatchObject({ kind: "invalid", problem: "http_host" });
  });

  test("of more than 2 KiB are not remembered, since an idle connection would hold them", () => {
    const reader = new RequestHeadReader(DEFAULT_HEAD_LIMITS);
    const large = withFields(`X: ${"a".repeat(2_048)}`);
    const heads = [1, 2, 3].map(() => read(reader, large));
    expect(new Set(heads).size).toBe(3);
  });
});

test("every sequence of heads, cut anywhere, reads as each head by itself", () => {
  const head = fc.constantFrom(
    withHost("a"),
    withHost("b"),
    `\r\n${withHost("a")}`,
    withFields("Content-Length: 0"),
    withFields("Transfer-Encoding: chunked"),
    withFields("Content-Length: 3", "Content-Length: 3"),
    "GET / HTTP/1.1\r\nHost: a\r\n \r\n",
    withHost("a").slice(0, -2),
    withHost("a").replace("\r\n\r\n", "\n\n"),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(head, head, fc.nat(60)), { maxLength: 12 }), (messages) => {
      const reader = new RequestHeadReader(DEFAULT_HEAD_LIMITS);
      for (const [first, next, cut] of messages) {
        const buffer = bytes(first + next.slice(0, cut));
        expect(reader.read(buffer, 0, buffer.length)).toEqual(parseRequestHead(buffer, 0, buffer.length));
      }
    }),
    { seed: 1, numRuns: 500 },
  );
});
