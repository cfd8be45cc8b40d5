import { describe, expect, test } from "vitest";
import { BODY_END, chunkHead, ChunkedDecoder, type ChunkedLimits, type ChunkedOutput } from "./chunked.ts";
import { latin1 } from "./latin1.ts";

interface Decoded {
  readonly status: string;
  readonly output: string;
  readonly consumed: number;
  readonly slices: number;
  readonly trailers: string;
}

/** Feeds `text` in pieces of at most `piece` bytes. */
function decode(text: string, output: ChunkedOutput, piece = text.length, limits?: ChunkedLimits): Decoded {
  const decoder = new ChunkedDecoder(output, limits);
  const buffer = Buffer.from(text, "latin1");
  let passed = "";
  let slices = 0;
  const sink = {
    data(bytes: Buffer, start: number, end: number): void {
      passed += latin1(bytes, start, end);
      slices++;
    },
  };
  let at = 0;
  while (at < buffer.length && decoder.status === "open") {
    at = decoder.feed(buffer, at, Math.min(at + piece, buffer.length), sink);
  }
  return { status: decoder.status, output: passed, consumed: at, slices, trailers: decoder.trailers };
}

const BODY = "5\r\nhello\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n";
const CONTENT = "helloabcdefghijklmnopqrstuvwxyz";

describe("a chunked body", () => {
  test("gives its content", () => {
    expect(decode(BODY, "payload")).toMatchObject({ status: "done", output: CONTENT, consumed: BODY.length });
  });

  test("goes on in chunks as one slice of what came", () => {
    expect(decode(BODY, "chunked")).toMatchObject({ status: "done", output: BODY, slices: 1 });
  });

  test("ends where it ends: what follows is the next message", () => {
    for (const output of ["payload", "chunked"] as const) {
      expect(decode(`${BODY}GET / HTTP/1.1`, output).consumed).toBe(BODY.length);
      expect(decode(`0\r\nX: y\r\n\r\nGET`, output).consumed).toBe(11);
    }
  });

  test("is the same however it is cut", () => {
    const odd = '05;a=b\r\nhello\r\n00A;q="\\""\r\n0123456789\r\n00;z\r\nX-Sum: 1\r\nHost: forged\r\n\r\n';
    for (const text of [BODY, odd]) {
      for (const output of ["payload", "chunked"] as const) {
        const { slices: _, ...whole } = decode(text, output);
        for (let piece = 1; piece < text.length; piece++) {
          const { slices: __, ...cut } = decode(text, output, piece);
          expect(cut).toEqual(whole);
        }
      }
    }
  });

  test("is open until its last byte", () => {
    for (let end = 0; end < BODY.length; end++) {
      expect(decode(BODY.slice(0, end), "chunked").status).toBe("open");
    }
  });

  test("that is cut short is never passed on with an ending", () => {
    const truncated = "5\r\nhello\r\n0\r\nX: y\r\n";
    for (let piece = 1; piece < truncated.length; piece++) {
      expect(decode(truncated, "chunked", piece).output).toBe("5\r\nhello\r\n");
    }
  });

  test("may be empty", () => {
    expect(decode(BODY_END, "payload")).toMatchObject({ status: "done", output: "" });
    expect(decode(BODY_END, "chunked")).toMatchObject({ status: "done", output: BODY_END });
  });

  test("is written by chunkHead and BODY_END as it is read", () => {
    const text = `${chunkHead(CONTENT.length)}${CONTENT}\r\n${BODY_END}`;
    expect(decode(text, "payload")).toMatchObject({ status: "done", output: CONTENT });
  });
});

describe("chunk sizes", () => {
  test.each([
    ["leading zeros", "0005\r\nhello\r\n000\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"],
    ["upper case", "A\r\n0123456789\r\n0\r\n\r\n", "A\r\n0123456789\r\n0\r\n\r\n"],
    ["15 digits", "000000000000005\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"],
  ])("may have %s, and go on in canonical form", (_, text, canonical) => {
    expect(decode(text, "chunked")).toMatchObject({ status: "done", output: canonical });
  });

  test.each([
    "0_2e",
    "-0x0",
    "0x5",
    "+5",
    "-5",
    " 5",
    "5 ",
    "5\t",
    "\t5",
    "",
    "g",
    "5g",
    "5.0",
    "5,5",
    "1_0",
    "\u00b2",
    "5\0",
    "12345678901234567",
    "0000000000000005",
    "fffffffffffffff",
  ])("may not be %j", (size) => {
    for (const output of ["payload", "chunked"] as const) {
      expect(decode(`${size}\r\nhello\r\n0\r\n\r\n`, output)).toMatchObject({
        status: "invalid",
        output: "",
      });
    }
  });
});

describe("chunk lines", () => {
  test.each([
    ["a bare LF after the size", "5\nhello\r\n0\r\n\r\n"],
    ["a bare CR after the size", "5\rhello\r\n0\r\n\r\n"],
    ["CR CR LF after the size", "5\r\r\nhello\r\n0\r\n\r\n"],
    ["a bare LF after the data", "5\r\nhello\n0\r\n\r\n"],
    ["a bare CR after the data", "5\r\nhello\r0\r\n\r\n"],
    ["nothing after the data", "5\r\nhello0\r\n\r\n"],
    ["data longer than its size", "4\r\nhello\r\n0\r\n\r\n"],
    ["an empty line between chunks", "5\r\nhello\r\n\r\n0\r\n\r\n"],
    ["a bare LF after the last chunk", "0\n\r\n"],
    ["a bare LF as the empty line", "0\r\n\n"],
    ["a bare LF after a trailer", "0\r\nX: y\n\r\n"],
    ["a bare CR as the empty line", "0\r\n\rX"],
  ])("with %s are refused", (_, text) => {
    expect(decode(`${text}\r\n\r\n`, "payload").status).toBe("invalid");
  });
});

describe("chunk extensions", () => {
  test.each([";a", ";a=b", ";a;b", ';a="b c;\\""', ";a=b;c=d"])(
    "of the form %j are accepted and cut out",
    (extension) => {
      const decoded = decode(`5${extension}\r\nhello\r\n0${extension}\r\n\r\n`, "chunked");
      expect(decoded).toMatchObject({ status: "done", output: "5\r\nhello\r\n0\r\n\r\n" });
    },
  );

  test.each([
    ";",
    ";;a",
    ";a=",
    ";=b",
    " ;a",
    "; a",
    ";a =b",
    ';a="b',
    ';a="b"c',
    ";a\0",
    ";\xe9",
    ";a\rb",
    ";a\n",
  ])("of the form %j are refused (CVE-2025-55315)", (extension) => {
    expect(decode(`5${extension}\r\nhello\r\n0\r\n\r\n`, "chunked").status).toBe("invalid");
  });

  test("of 64 KiB are refused long before they are read", () => {
    const decoded = decode(`5;a=${"b".repeat(64 * 1024)}\r\nhello\r\n0\r\n\r\n`, "payload", 1024);
    expect(decoded).toMatchObject({ status: "invalid" });
    expect(decoded.consumed).toBeLessThan(6 * 1024);
  });

  test("are counted over the whole body (CVE-2024-22019)", () => {
    expect(decode(`1;${"a".repeat(40)}\r\nx\r\n`.repeat(200) + BODY_END, "payload").status).toBe("invalid");
  });
});

describe("trailers", () => {
  function trailersOf(...lines: readonly string[]): Decoded {
    return decode(["0", ...lines, "", ""].join("\r\n"), "chunked");
  }

  test("go on with the body and can be read", () => {
    const decoded = trailersOf("grpc-status: 0", "X-Sum: 1");
    expect(decoded.trailers).toBe("grpc-status: 0\r\nX-Sum: 1\r\n");
    expect(decoded.output).toBe("0\r\ngrpc-status: 0\r\nX-Sum: 1\r\n\r\n");
  });

  test.each([
    "Content-Length: 5",
    "Transfer-Encoding: chunked",
    "Host: x",
    "Connection: close",
    "Keep-Alive: 5",
    "TE: trailers",
    "Trailer: x",
    "Authorization: Bearer x",
    "Set-Cookie: a=b",
    "Content-Type: text/html",
    "Expect: 100-continue",
    "x-forwarded-client-cert: forged",
    "X_Forwarded_Client_Cert: forged",
    "isthmus-caller: forged",
    "Via: 1.1 x",
  ])("leave out %s", (line) => {
    expect(trailersOf("X: y", line)).toMatchObject({ status: "done", trailers: "X: y\r\n" });
  });

  test.each([
    ["a folded line", ["X: y", " z"]],
    ["a space before the colon", ["X : y"]],
    ["a control byte", ["X: \x01"]],
    ["no colon", ["X"]],
    ["8 KiB", [`X: ${"y".repeat(8192)}`]],
    ["101 fields", Array.from({ length: 101 }, () => "X: y")],
  ])("with %s are refused", (_, lines) => {
    expect(trailersOf(...lines)).toMatchObject({ status: "invalid", output: "" });
  });
});
