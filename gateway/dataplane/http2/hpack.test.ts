// Longer than other files: the examples of RFC 7541, and everything that is none.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HpackDecoder } from "./hpack-decoder.ts";
import { HpackEncoder } from "./hpack-encoder.ts";

const LIMITS = { listBytes: 64 * 1024, fields: 200 };

function decode(decoder: HpackDecoder, hex: string) {
  const bytes = Buffer.from(hex.replaceAll(" ", ""), "hex");
  return decoder.decode(bytes, 0, bytes.length) ? decoder.block.fields : undefined;
}

const pairs = (...fields: readonly (readonly [string, string])[]) => fields.flat();

describe("header blocks of RFC 7541, Appendix C", () => {
  it.each([
    [
      "C.2.1",
      "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
      [["custom-key", "custom-header"]],
    ],
    ["C.2.2", "040c 2f73 616d 706c 652f 7061 7468", [[":path", "/sample/path"]]],
    ["C.2.3", "1008 7061 7373 776f 7264 0673 6563 7265 74", [["password", "secret"]]],
    ["C.2.4", "82", [[":method", "GET"]]],
  ] as const)("%s", (_name, hex, fields) => {
    expect(decode(new HpackDecoder(LIMITS), hex)).toEqual(pairs(...fields));
  });

  const request = pairs(
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/"],
    [":authority", "www.example.com"],
  );
  const third = pairs(
    [":method", "GET"],
    [":scheme", "https"],
    [":path", "/index.html"],
    [":authority", "www.example.com"],
    ["custom-key", "custom-value"],
  );

  it.each([
    [
      "C.3, plain",
      [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
      ],
    ],
    [
      "C.4, Huffman-coded",
      [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
      ],
    ],
  ])("%s: three requests on one connection", (_name, blocks) => {
    const decoder = new HpackDecoder(LIMITS);
    const fields = blocks.map((hex) => decode(decoder, hex));
    expect(fields).toEqual([request, [...request, "cache-control", "no-cache"], third]);
  });

  it("C.6: responses that evict from a table of 256 octets", () => {
    const decoder = new HpackDecoder(LIMITS);
    decode(decoder, "3fe1 01"); // the size that the appendix takes as given
    decode(
      decoder,
      "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
    );
    decode(decoder, "4883 640e ffc1 c0bf");
    const last = decode(
      decoder,
      "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    );
    expect(last).toEqual(
      pairs(
        [":status", "200"],
        ["cache-control", "private"],
        ["date", "Mon, 21 Oct 2013 20:13:22 GMT"],
        ["location", "https://www.example.com"],
        ["content-encoding", "gzip"],
        ["set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"],
      ),
    );
  });
});

describe("the HPACK decoder", () => {
  it.each([
    ["an index of 0", "80"],
    ["an index beyond both tables", "be"],
    ["an index that never ends", "ff ffff ffff ffff"],
    ["a string longer than its block", "0005 61"],
    ["Huffman padding of 0 bits", "0081 1c 00"],
    ["Huffman padding of 8 bits", "0082 1fff 00"],
    ["a Huffman-coded end-of-string", "0084 ffff ffff 00"],
    ["a table larger than allowed", "3fe2 1f"],
    ["a table size after a field", "8220"],
    ["a literal without a value", "0001 61"],
  ])("refuses %s", (_what, hex) => {
    expect(decode(new HpackDecoder(LIMITS), hex)).toBeUndefined();
  });

  it.each([
    ["an upper-case name", "0001 41 0161"],
    ["an empty name", "0000 0161"],
    ["a name that is only a colon", "0001 3a 0161"],
    ["a line feed in a value", "0001 61 01 0a"],
    ["a NUL in a value", "0001 61 01 00"],
    ["a blank at the end of a value", "0001 61 02 6120"],
    ["a colon inside a name", "0003 613a62 0161"],
  ])("calls %s illegal, also when it comes back by its index", (_what, hex) => {
    const decoder = new HpackDecoder(LIMITS);
    decode(decoder, hex);
    expect(decoder.block.isIllegal).toBe(true);
    decode(decoder, `40 ${hex.slice(2)}`);
    decode(decoder, "be");
    expect(decoder.block.isIllegal).toBe(true);
    decode(decoder, "82");
    expect(decoder.block.isIllegal).toBe(false);
  });

  it("takes the spaces at the ends of a gRPC status message, but no line feed", () => {
    const decoder = new HpackDecoder(LIMITS);
    const legal = (value: string) => {
      const block = Buffer.from(new HpackEncoder().encode(["grpc-message", value]));
      expect(decoder.decode(block, 0, block.length)).toBe(true);
      return [decoder.block.isIllegal, decoder.block.fields[1]];
    };
    expect(legal(" not found: ")).toEqual([false, " not found: "]);
    expect(legal("not found:\n")[0]).toBe(true);
  });

  it("keeps nothing of a list beyond its limits, but keeps its table in step", () => {
    const decoder = new HpackDecoder({ listBytes: 4_000, fields: 100 });
    const encoder = new HpackEncoder();
    const big = ["a".repeat(100), "b".repeat(1_900)];
    const block = encoder.encode([...big, ...big, ...big, "x-last", "kept"]);
    expect(decoder.decode(block, 0, block.length)).toBe(true);
    expect([decoder.block.isTooLarge, decoder.block.fields.length]).toEqual([true, 2]);
    const next = encoder.encode(["x-last", "kept"]);
    expect(next).toHaveLength(1);
    decoder.decode(next, 0, next.length);
    expect([decoder.block.isTooLarge, decoder.block.fields]).toEqual([false, ["x-last", "kept"]]);
  });

  it("bounds what a bomb of one-octet references decodes to (an HPACK bomb)", () => {
    const decoder = new HpackDecoder({ listBytes: 16_384, fields: 100 });
    const encoder = new HpackEncoder();
    const filled = Buffer.from(encoder.encode(["x-bomb", "b".repeat(2_000)]));
    decoder.decode(filled, 0, filled.length);
    const bomb = Buffer.alloc(16_000, 0xbe);
    expect(decoder.decode(bomb, 0, bomb.length)).toBe(true);
    expect(decoder.block.isTooLarge).toBe(true);
    expect(decoder.block.fields.join("").length).toBeLessThan(16_384);
  });

  it("survives any bytes", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 80 }), { maxLength: 5 }), (blocks) => {
        const decoder = new HpackDecoder(LIMITS);
        for (const block of blocks) if (!decoder.decode(Buffer.from(block), 0, block.length)) return;
      }),
    );
  });
});

describe("the HPACK encoder", () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,30}$/);
  const value = fc.stringMatching(/^[!-~]([ -~]{0,200}[!-~])?$/);
  const known = fc.constantFrom(
    [":method", "GET"],
    [":status", "200"],
    ["content-length", "17"],
    ["cookie", "a=b"],
    ["grpc-status", "0"],
    ["x-empty", ""],
  );
  const lists = fc.array(fc.array(fc.oneof(known, fc.tuple(name, value)), { maxLength: 12 }), {
    maxLength: 30,
  });
  const sizes = fc.array(fc.constantFrom(undefined, 0, 64, 200, 1_000, 4_096, 65_536), { maxLength: 30 });

  it("is undone by the decoder, whatever the sizes of the table on the way", () => {
    fc.assert(
      fc.property(lists, sizes, (messages, changes) => {
        const encoder = new HpackEncoder();
        const decoder = new HpackDecoder({ listBytes: 1e6, fields: 1_000 });
        for (const [at, message] of messages.entries()) {
          const change = changes[at];
          if (change !== undefined) encoder.setMaxTableBytes(change);
          const block = encoder.encode(message.flat());
          expect(decoder.decode(block, 0, block.length)).toBe(true);
          expect(decoder.block.fields).toEqual(message.flat());
        }
      }),
      { numRuns: 60 },
    );
  });

  it("says a repeated field in one octet, and never puts a secret into a table", () => {
    const encoder = new HpackEncoder();
    encoder.encode(["isthmus-caller", "token", "authorization", "secret"]);
    expect(encoder.encode(["isthmus-caller", "token"])).toHaveLength(1);
    expect(encoder.encode(["authorization", "secret"]).toString("latin1")).toContain("secret");
  });
});

describe("blocks that come again", () => {
  const decoded = (decoder: HpackDecoder, block: Buffer) => {
    expect(decoder.decode(block, 0, block.length)).toBe(true);
    return decoder.block.fields;
  };

  it("are the same list once they were repeated, and encoded from memory", () => {
    const [encoder, decoder, again] = [new HpackEncoder(), new HpackDecoder(LIMITS), new HpackEncoder()];
    const fields = [":status", "200", "x-name", "value"];
    decoded(decoder, Buffer.from(encoder.encode(fields)));
    const lists = [1, 2, 3].map(() => decoded(decoder, Buffer.from(encoder.encode(fields))));
    expect(lists[2]).toBe(lists[1]);
    expect(lists[2]).toEqual(fields);
    again.encode(lists[2] ?? []);
    const blocks = [1, 2, 3].map(() => Buffer.from(again.encode(lists[2] ?? [])).toString("hex"));
    expect(new Set(blocks).size).toBe(1);
  });

  it("are remembered in turns, as a head and its trailers, whatever octets they have", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 40 }), fc.string({ maxLength: 40 }), (head, trailers) => {
        const decoder = new HpackDecoder(LIMITS);
        const blocks = [head, trailers].map((text) => {
          const value = Buffer.from(text);
          return Buffer.concat([Buffer.of(0x00, 1, 0x7a, value.length), value]);
        });
        const round = () => blocks.map((block) => decoded(decoder, block));
        round();
        const [[first, second], again] = [round(), round()];
        expect(again[0]).toBe(first);
        expect(again[1]).toBe(second);
      }),
      { numRuns: 1_000 },
    );
  });

  it("mean what the table then says, however often and in whatever order they come", () => {
    const list = fc.array(
      fc.tuple(fc.constantFrom("a", "b", "c"), fc.constantFrom("1", "2", "x".repeat(1_500))),
      {
        minLength: 1,
        maxLength: 3,
      },
    );
    fc.assert(
      fc.property(
        fc.array(list, { minLength: 1, maxLength: 4 }),
        fc.array(fc.nat(3), { maxLength: 40 }),
        (lists, order) => {
          const [encoder, decoder] = [new HpackEncoder(), new HpackDecoder(LIMITS)];
          const [onward, beyond] = [new HpackEncoder(), new HpackDecoder(LIMITS)];
          for (const at of order) {
            const fields = (lists[at % lists.length] ?? []).flat();
            const received = decoded(decoder, Buffer.from(encoder.encode(fields)));
            expect(received).toEqual(fields);
            expect(decoded(beyond, Buffer.from(onward.encode(received)))).toEqual(fields);
          }
        },
      ),
    );
  });

  it("keep the table in step also where each adds its fields anew", () => {
    const literal = (name: string, value: string) =>
      Buffer.concat([
        Buffer.of(0x40, name.length),
        Buffer.from(name),
        Buffer.of(value.length),
        Buffer.from(value),
      ]);
    const blocks = [
      literal("a", "1"),
      Buffer.concat([literal("b", "2"), literal("c", "x".repeat(100))]),
      Buffer.of(0xbe), // the newest entry
      Buffer.of(0xbf, 0xbe),
      Buffer.of(0x82), // of the static table
      Buffer.concat([Buffer.of(0xbe), literal("d", "4")]),
      Buffer.concat([Buffer.of(0x20), literal("e", "5")]), // empties the table, for good
    ];
    fc.assert(
      fc.property(fc.array(fc.nat(blocks.length - 1), { maxLength: 60 }), (order) => {
        const [decoder, oracle] = [new HpackDecoder(LIMITS), new HpackDecoder(LIMITS)];
        for (const [index, at] of order.entries()) {
          const block = blocks[at] ?? Buffer.alloc(0);
          // A field that no other block has: the oracle never sees one again.
          const number = String(index).padStart(4, "0");
          const unique = Buffer.concat([block, Buffer.of(0x00, 1, 0x7a, 4), Buffer.from(number)]);
          const isSound = oracle.decode(unique, 0, unique.length);
          expect(decoder.decode(block, 0, block.length)).toBe(isSound);
          if (!isSound) return;
          expect([...decoder.block.fields, "z", number]).toEqual(oracle.block.fields);
        }
      }),
      { numRuns: 300 },
    );
  });
});
