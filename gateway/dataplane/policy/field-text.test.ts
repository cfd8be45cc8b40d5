import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { octetsOf, textOf } from "./field-text.ts";

describe("a text in a field", () => {
  it("is its UTF-8, one character for each octet, and comes back as it was", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        const octets = octetsOf(text);
        expect(octets).toBe(Buffer.from(text, "utf8").toString("latin1"));
        expect(textOf(octets)).toBe(text);
      }),
    );
  });

  it("is taken as it stands where it is no UTF-8, or half a character", () => {
    expect(textOf("M\u00fcller")).toBe("M\u00fcller");
    expect(octetsOf("\ud800")).toBe("\ud800");
  });
});
