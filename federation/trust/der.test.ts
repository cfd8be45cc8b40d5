import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  children,
  DerError,
  type DerNode,
  readBitString,
  readBoolean,
  readDer,
  readInteger,
  readTime,
} from "./der.ts";
import { encodeDer, octetString, sequence, time } from "./der-write.ts";
import { oidBody } from "./oids.ts";

const bytes = (hex: string) => Buffer.from(hex, "hex");

describe("the DER reader", () => {
  const malformed: readonly [string, string][] = [
    ["an element that is cut off in its header", "30"],
    ["an element that is cut off in its contents", "300501"],
    ["an indefinite length", "30800000"],
    ["a length of one byte written with two", "3081020500"],
    ["a length written with a leading zero", "30820002" + "0500"],
    ["a length of four octets", "3084000000020500"],
    ["a reserved length octet", "30ff"],
    ["a high tag number", "1f8101" + "00"],
    ["bytes after the end", "05000500"],
    ["nothing at all", ""],
  ];
  it.each(malformed)("refuses %s", (_, hex) => {
    expect(() => readDer(bytes(hex))).toThrow(DerError);
  });

  it("refuses to look inside a primitive element", () => {
    expect(() => children(readDer(bytes("0403020101")))).toThrow(DerError);
  });

  it.each([
    ["01", "0101" + "01"],
    ["two bytes", "0102" + "ffff"],
    ["none", "0100"],
  ])("refuses a boolean of %s", (_, hex) => {
    expect(() => readBoolean(readDer(bytes(hex)))).toThrow(DerError);
  });

  it.each([
    ["a leading zero", "02020001"],
    ["a leading ff", "0202ff80"],
    ["no byte", "0200"],
    ["another type", "04010a"],
  ])("refuses an integer with %s", (_, hex) => {
    expect(() => readInteger(readDer(bytes(hex)), "a number")).toThrow(DerError);
  });

  it.each([
    ["stray bits at the end", "0302" + "0701"],
    ["more than seven unused bits", "0302" + "0800"],
    ["unused bits of nothing", "0301" + "01"],
    ["no count of unused bits", "0300"],
  ])("refuses a bit string with %s", (_, hex) => {
    expect(() => readBitString(readDer(bytes(hex)), "bits")).toThrow(DerError);
  });

  it.each([
    "260231000000Z", // 31 February
    "261301000000Z",
    "260101240000Z",
    "260101006000Z",
    "2601010000Z",
    "260101000000+0000",
    "260101000000.5Z",
  ])("refuses %s as a UTCTime", (text) => {
    const node = readDer(Buffer.concat([Buffer.from([0x17, text.length]), Buffer.from(text)]));
    expect(() => readTime(node)).toThrow(DerError);
  });

  it("refuses a GeneralizedTime where UTCTime could say it", () => {
    const text = "20491231235959Z";
    const node = readDer(Buffer.concat([Buffer.from([0x18, text.length]), Buffer.from(text)]));
    expect(() => readTime(node)).toThrow(DerError);
  });

  it("reads every time that we write, through 2049 and after", () => {
    const seconds = fc.integer({ min: Date.UTC(1950, 0, 1) / 1000, max: Date.UTC(9999, 0, 1) / 1000 });
    fc.assert(
      fc.property(seconds, (second) => {
        expect(readTime(readDer(encodeDer(time(second * 1000))))).toBe(second * 1000);
      }),
    );
  });

  it("accepts only the one encoding: written again, all that it read gives the same bytes", () => {
    const sample = encodeDer(
      sequence(octetString(Buffer.alloc(9)), sequence(octetString(Buffer.alloc(200, 7)))),
    );
    expect(written(readDer(sample))).toEqual(sample);
    fc.assert(
      fc.property(fc.nat(sample.length - 1), fc.integer({ min: 0, max: 255 }), (at, value) => {
        const mutated = Buffer.from(sample);
        mutated[at] = value;
        if (readsWhole(mutated)) expect(written(readDer(mutated))).toEqual(mutated);
      }),
      { numRuns: 500 },
    );
  });

  it("ends with a value or a DerError, whatever it is given", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (input) => {
        readsWhole(Buffer.from(input));
      }),
      { numRuns: 2000 },
    );
  });
});

/** The element in DER, by forge's rules of length. */
function written(node: DerNode): Buffer {
  const body = (node.tag & 0x20) === 0 ? node.body : Buffer.concat(children(node).map(written));
  const whole = encodeDer(octetString(body));
  whole[0] = node.tag;
  return whole;
}

function readsWhole(input: Buffer): boolean {
  try {
    const nodes = [readDer(input)];
    for (let node = nodes.pop(); node !== undefined; node = nodes.pop()) {
      if ((node.tag & 0x20) !== 0) nodes.push(...children(node));
    }
    return true;
  } catch (cause) {
    if (cause instanceof DerError) return false;
    throw cause;
  }
}

it("knows object identifiers as X.690 encodes them", () => {
  expect(Buffer.from(oidBody("1.2.840.10045.4.3.2"), "latin1").toString("hex")).toBe("2a8648ce3d040302");
});
