import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LOCAL_REPLY } from "./local-reply.ts";
import { grpcMessage, grpcStatusOf, grpcTimeoutMs, isGrpc } from "./grpc.ts";

describe("gRPC as a proxy knows it", () => {
  it.each([
    ["application/grpc", true],
    ["application/grpc+proto", true],
    ["application/grpc-web", false],
    ["application/json", false],
    [undefined, false],
  ])("content-type %s: %s", (type, expected) => {
    expect(isGrpc(type)).toBe(expected);
  });

  it.each([
    ["1H", 3_600_000],
    ["2M", 120_000],
    ["3S", 3_000],
    ["40m", 40],
    ["500u", 0.5],
    ["1000000n", 1],
    ["99999999H", undefined],
    ["100000000n", undefined],
    ["1s", undefined],
    ["", undefined],
    [undefined, undefined],
  ])("grpc-timeout %s is %s ms", (value, expected) => {
    expect(grpcTimeoutMs(value)).toBe(expected);
  });

  it("has a status of its own for every refusal there is", () => {
    for (const { http } of Object.values(LOCAL_REPLY)) expect(grpcStatusOf(http)).toBeGreaterThan(0);
    expect([403, 404, 429, 502, 503, 504].map((http) => grpcStatusOf(http))).toEqual([7, 12, 8, 14, 14, 4]);
  });

  it("encodes any message as printable ASCII that decodes to it", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const encoded = grpcMessage(text);
        expect(encoded).toMatch(/^[ -~]*$/);
        expect(decodeURIComponent(encoded)).toBe(text);
      }),
    );
    expect(grpcMessage("a\ud800 100 %")).toBe("a%EF%BF%BD 100 %25");
  });
});
