import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { clientHello } from "../../../test/fakes/client-hello.ts";
import { MAX_HELLO, parseClientHello } from "./client-hello.ts";

const HELLO = clientHello({ serverName: "api.example.com" });

describe("a ClientHello", () => {
  it("tells its server name wherever the bytes are cut", () => {
    for (let at = 0; at < HELLO.length; at++)
      expect(parseClientHello(HELLO.subarray(0, at)).kind, `${at} bytes`).toBe("need-more");
    expect(parseClientHello(HELLO)).toEqual({ kind: "hello", serverName: "api.example.com", hidden: false });
  });

  it("may span records of any size, and be followed by anything", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        fc.uint8Array({ maxLength: 20 }),
        (recordBytes, after) => {
          const bytes = clientHello({ serverName: "api.example.com", recordBytes });
          const outcome = parseClientHello(Buffer.concat([bytes, after]));
          expect(outcome).toMatchObject({ kind: "hello", serverName: "api.example.com" });
        },
      ),
    );
  });

  it.each([
    ["ECH", 0xfe0d],
    ["ESNI", 0xffce],
  ])("that hides its name by %s says so", (_name, type) => {
    const bytes = clientHello({ serverName: "front.example.com", extensions: [[type, Buffer.alloc(8)]] });
    expect(parseClientHello(bytes)).toMatchObject({ kind: "hello", hidden: true });
  });

  it("may come without extensions and without a name", () => {
    expect(parseClientHello(clientHello({}))).toMatchObject({ kind: "hello", serverName: undefined });
  });

  it.each([
    [
      "an extension twice",
      clientHello({ serverName: "a.example", extensions: [[0, clientHello.sni("b.example")]] }),
    ],
    ["a NUL in the name", clientHello({ serverName: "a.example\0b" })],
    ["an empty name", clientHello({ serverName: "" })],
    [
      "two names in one extension",
      clientHello({ extensions: [[0, Buffer.concat([clientHello.sni("a.example"), Buffer.from([0])])]] }),
    ],
    ["another handshake message", Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0])],
    ["a record of no bytes", Buffer.from([22, 3, 1, 0, 0])],
    ["a record of too many bytes", Buffer.from([22, 3, 1, 0xff, 0xff])],
    [
      "an alert inside",
      Buffer.concat([
        HELLO.subarray(0, 0),
        clientHello({ serverName: "a.example", recordBytes: 20 }).subarray(0, 25),
        Buffer.from([21, 3, 3, 0, 2, 1, 0]),
      ]),
    ],
    ["a length beyond the limit", Buffer.from([22, 3, 1, 0, 4, 1, 0, (MAX_HELLO >> 8) + 1, 0])],
  ])("with %s is refused", (_what, bytes) => expect(parseClientHello(bytes).kind).toBe("invalid"));

  it("is told from other protocols by its first byte", () => {
    expect(parseClientHello(Buffer.from("GET / HTTP/1.1\r\n")).kind).toBe("not-tls");
    expect(parseClientHello(Buffer.from([0x80, 0x2e, 1, 3, 1])).kind).toBe("not-tls");
  });

  it("never throws and never waits for ever, whatever the bytes", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 64 }),
        fc.nat(HELLO.length - 1),
        fc.nat(255),
        (noise, at, octet) => {
          parseClientHello(Buffer.concat([Buffer.from([22, 3, 1]), noise]));
          const changed = Buffer.from(HELLO);
          changed[at] = octet;
          const outcome = parseClientHello(changed);
          const padded = parseClientHello(Buffer.concat([changed, Buffer.alloc(3 * MAX_HELLO)]));
          expect(padded.kind).not.toBe("need-more");
          if (outcome.kind === "hello") expect(outcome.serverName ?? "").toMatch(/^[!-~]*$/);
        },
      ),
      { numRuns: 300 },
    );
  });
});
