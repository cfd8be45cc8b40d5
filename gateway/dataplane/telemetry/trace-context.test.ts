import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseTraceContext, renderTraceparent } from "./trace-context.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";
const VALID = `00-${TRACE}-${SPAN}-01`;

describe("parseTraceContext", () => {
  it("reads a traceparent of version 00", () => {
    expect(parseTraceContext(VALID, undefined)).toEqual({ traceId: TRACE, spanId: SPAN, sampled: true });
    expect(parseTraceContext(`00-${TRACE}-${SPAN}-00`, undefined)?.sampled).toBe(false);
    expect(parseTraceContext(`00-${TRACE}-${SPAN}-fe`, undefined)?.sampled).toBe(false);
    expect(parseTraceContext(`00-${TRACE}-${SPAN}-09`, undefined)?.sampled).toBe(true);
  });

  it("reads what it knows of a later version", () => {
    expect(parseTraceContext(`cc-${TRACE}-${SPAN}-01-what-the-future-holds`, undefined)?.traceId).toBe(TRACE);
    expect(parseTraceContext(`cc-${TRACE}-${SPAN}-01`, undefined)?.sampled).toBe(true);
  });

  it.each([
    [undefined],
    [""],
    [`ff-${TRACE}-${SPAN}-01`],
    [`00-${TRACE}-${SPAN}-01-more`],
    [`cc-${TRACE}-${SPAN}-01.more`],
    [`00-${TRACE.toUpperCase()}-${SPAN}-01`],
    [`00-${"0".repeat(32)}-${SPAN}-01`],
    [`00-${TRACE}-${"0".repeat(16)}-01`],
    [`00-${TRACE}-${SPAN}-1`],
    [`00-${TRACE}-${SPAN}-01 `],
    [`00-${TRACE.slice(1)}-${SPAN}-01`],
    [`0-${TRACE}-${SPAN}-01`],
    [`${VALID}, ${VALID}`], // sent twice
    [`cc-${TRACE}-${SPAN}-01-${"a".repeat(300)}`],
  ])("takes %j for absent", (text) => {
    expect(parseTraceContext(text, "vendor=1")).toBeUndefined();
  });

  it.each([
    ["rojo=00f067aa0ba902b7", "rojo=00f067aa0ba902b7"],
    ["a=1 , b=2,,\tc=3", "a=1,b=2,c=3"],
    ["fw529a3039@dt=FfAPs;x", "fw529a3039@dt=FfAPs;x"],
  ])("passes the tracestate %j on", (text, expected) => {
    expect(parseTraceContext(VALID, text)?.tracestate).toBe(expected);
  });

  it.each([
    ["a"],
    ["a="],
    ["A=1"],
    ["a=1,a=2"],
    ["a=b=c"],
    ["a=1\u0007"],
    ["1a=1"],
    [Array.from({ length: 33 }, (_, index) => `k${index}=1`).join()],
    [`a=${"1".repeat(600)}`],
    [""],
  ])("drops the tracestate %j and keeps the traceparent", (text) => {
    expect(parseTraceContext(VALID, text)).toEqual({ traceId: TRACE, spanId: SPAN, sampled: true });
  });

  it("reads back what it renders", () => {
    const hex = (digits: number) =>
      fc
        .array(fc.constantFrom(..."0123456789abcdef"), { minLength: digits, maxLength: digits })
        .map((all) => all.join(""))
        .filter((text) => !/^0+$/.test(text));
    fc.assert(
      fc.property(hex(32), hex(16), fc.boolean(), (traceId, spanId, sampled) => {
        expect(parseTraceContext(renderTraceparent({ traceId, spanId, sampled }), undefined)).toEqual({
          traceId,
          spanId,
          sampled,
        });
      }),
      { seed: 31 },
    );
  });
});
