import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BodyFraming, CHUNKED, NO_BODY, UNTIL_CLOSE } from "../http1/framing.ts";
import { BodyForwarder, MALFORMED } from "./http1-body.ts";

/** Feeds `parts` one after another; answers what was written and where the last part's body ended. */
function forward(framing: BodyFraming, parts: readonly string[], keepChunks = true) {
  const body = new BodyForwarder();
  body.reset(framing, keepChunks);
  let written = "";
  let end = 0;
  const target = {
    write: (bytes: Buffer, from: number, to: number) => (
      (written += bytes.toString("latin1", from, to)), true
    ),
  };
  for (const part of parts) {
    const buffer = Buffer.from(part, "latin1");
    end = body.forward(buffer, 0, buffer.length, target);
    if (end === MALFORMED) break;
  }
  return { body, written, end };
}

const length = (bytes: number): BodyFraming => ({ kind: "length", length: bytes });

describe("a body that is passed on", () => {
  it("is done at once where there is none, and leaves the bytes to the next message", () => {
    const { body, written, end } = forward(NO_BODY, ["GET / HTTP/1.1"]);
    expect([body.done, written, end]).toEqual([true, "", 0]);
  });

  it("ends with its length and not a byte later", () => {
    const { body, written, end } = forward(length(8), ["hello", "thereGET /"]);
    expect([body.done, written, end]).toEqual([true, "hellothe", 3]);
  });

  it("is open while bytes are missing", () => {
    expect(forward(length(8), ["hello"]).body.done).toBe(false);
    expect(forward(CHUNKED, ["5\r\nhello\r\n"]).body.done).toBe(false);
    expect(forward(UNTIL_CLOSE, ["hello"]).body.done).toBe(false);
  });

  it("ends with its last chunk, and stays chunked", () => {
    const { body, written, end } = forward(CHUNKED, ["5\r\nhello\r\n0\r\n\r\nGET /"]);
    expect([body.done, written, end]).toEqual([true, "5\r\nhello\r\n0\r\n\r\n", 15]);
  });

  it("loses its chunks for a reader who knows none", () => {
    expect(forward(CHUNKED, ["5\r\nhel", "lo\r\n0\r\nx: 1\r\n\r\n"], false).written).toBe("hello");
  });

  it("is malformed where a chunk is, and passes nothing on behind it", () => {
    const { written, end } = forward(CHUNKED, ["5\r\nhello\r\nxyz\r\nmore"]);
    expect(end).toBe(MALFORMED);
    expect(written).not.toContain("more");
  });

  it("goes on until the connection ends where nothing else says so", () => {
    const { body, written } = forward(UNTIL_CLOSE, ["a", "b"]);
    expect([body.endsWithConnection, written]).toEqual([true, "ab"]);
    expect(forward(length(1), ["a"]).body.endsWithConnection).toBe(false);
  });

  it("starts clean for the next message, also after half a one", () => {
    const { body } = forward(CHUNKED, ["5\r\nhel"]);
    body.reset(length(2), true);
    let written = "";
    const end = body.forward(Buffer.from("okGET"), 0, 5, {
      write: (bytes, from, to) => ((written += bytes.toString("latin1", from, to)), true),
    });
    expect([written, end, body.done]).toEqual(["ok", 2, true]);
  });

  it("is the same however it is cut", () => {
    const text = "5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n";
    const cuts = fc
      .uniqueArray(fc.nat({ max: text.length }), { maxLength: 6 })
      .map((at) => at.sort((a, b) => a - b));
    fc.assert(
      fc.property(cuts, (at) => {
        const parts = [0, ...at].map((start, index) => text.slice(start, at[index] ?? text.length));
        const { body, written } = forward(CHUNKED, parts, false);
        expect([body.done, written]).toEqual([true, "hello0123456789abcdef"]);
      }),
    );
  });
});
