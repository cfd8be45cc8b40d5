import * as jose from "jose";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createTestFederation } from "../../test/fakes/pki.ts";
import { mintCallerToken } from "./caller-token.ts";
import { type MemberRequestExpectation, signMemberRequest, verifyMemberRequest } from "./member-request.ts";

const NOW = Date.UTC(2026, 10, 1, 12);
const federation = createTestFederation("demo.mesh", ["east", "west"], NOW);
const gateway = federation.system("east", "gateway");
const request = {
  method: "PUT",
  url: "https://registry.example/v1/clusters/east/services?dry=1",
  body: '{"services":[]}',
};
const header = signMemberRequest({ credential: gateway, ...request, now: NOW });

function codeOf(changed: Partial<MemberRequestExpectation> = {}, authorization = header): string {
  const result = verifyMemberRequest(authorization, {
    ...request,
    bundles: federation.index,
    now: NOW,
    ...changed,
  });
  return result.ok ? result.value.signer.uri : result.error.name;
}

describe("a member request", () => {
  it("tells which member sent it", () => {
    expect(codeOf()).toBe("spiffe://east.demo.mesh/ns/isthmus-system/sa/gateway");
  });

  it("is the same under any host, and with the body as bytes", () => {
    expect(codeOf({ url: "/v1/clusters/east/services?dry=1" })).toBe(gateway.spiffeId.uri);
    expect(codeOf({ url: "http://127.0.0.1:7070/v1/clusters/east/services?dry=1" })).toBe(
      gateway.spiffeId.uri,
    );
    expect(codeOf({ body: new TextEncoder().encode(request.body) })).toBe(gateway.spiffeId.uri);
    expect(codeOf({ method: "put" })).toBe(gateway.spiffeId.uri);
  });

  it("has the same signature for an empty body and none", () => {
    const get = { method: "GET", url: "/v1/x", body: undefined };
    const signed = signMemberRequest({ credential: gateway, ...get, now: NOW });
    expect(codeOf({ ...get, body: "" }, signed)).toBe(gateway.spiffeId.uri);
    expect(codeOf({ ...get, body: "{}" }, signed)).toBe("member_request_invalid");
  });

  it.each([
    ["method", { method: "DELETE" }],
    ["path", { url: "/v1/clusters/west/services?dry=1" }],
    ["path, behind what looks like a host", { url: "//x/v1/clusters/east/services?dry=1" }],
    ["query", { url: "/v1/clusters/east/services?dry=0" }],
    ["query, left out", { url: "/v1/clusters/east/services" }],
    ["body", { body: '{"services":[1]}' }],
    ["body, left out", { body: undefined }],
    ["body, by a blank", { body: '{"services":[]} ' }],
  ])("is refused with another %s", (_, changed) => {
    expect(codeOf(changed)).toBe("member_request_invalid");
  });

  it("lives for a minute, and 30 s of skew are allowed on both sides", () => {
    expect(codeOf({ now: NOW + 90_000 })).toBe(gateway.spiffeId.uri);
    expect(codeOf({ now: NOW + 91_000 })).toBe("member_request_expired");
    expect(codeOf({ now: NOW - 30_000 })).toBe(gateway.spiffeId.uri);
    expect(codeOf({ now: NOW - 31_000 })).toBe("member_request_expired");
    expect(codeOf({ now: NOW + 61_000, skewMs: 0 })).toBe("member_request_expired");
  });

  it("is refused the second time where the registry keeps count", () => {
    const seen = new Map<string, number>();
    const spend = (jti: string, untilMs: number) => !seen.has(jti) && seen.set(jti, untilMs) !== undefined;
    expect(codeOf({ spend })).toBe(gateway.spiffeId.uri);
    expect(codeOf({ spend })).toBe("member_request_invalid");
    expect([...seen.values()]).toEqual([NOW + 90_000]);
  });

  it("is ordered by the millisecond, and without a sequence of its own by the second", () => {
    const sequenceOf = (sequence?: number) => {
      const more = sequence === undefined ? {} : { sequence };
      const signed = signMemberRequest({ credential: gateway, ...request, now: NOW + 7, ...more });
      const expected = { ...request, bundles: federation.index, now: NOW };
      const result = verifyMemberRequest(signed, expected);
      return result.ok ? result.value.signature.sequence : result.error.name;
    };
    expect(sequenceOf()).toBe(NOW + 7);
    expect(sequenceOf(NOW + 8)).toBe(NOW + 8);
    // What is no time beside the one that it was signed at would keep later ones out.
    for (const strange of [NOW - 1, NOW + 60_001, NOW + 0.5, Number.MAX_SAFE_INTEGER])
      expect(sequenceOf(strange)).toBe("member_request_invalid");
  });

  it("is not counted when something else is wrong with it", () => {
    const spend = () => {
      throw new Error("counted");
    };
    expect(codeOf({ spend, body: "x" })).toBe("member_request_invalid");
    expect(codeOf({ spend, now: NOW + 200_000 })).toBe("member_request_expired");
  });

  it("is refused from a workload, whatever its cluster", () => {
    const workload = federation.credential("east", "shop", "cart");
    expect(codeOf({}, signMemberRequest({ credential: workload, ...request, now: NOW }))).toBe(
      "member_request_invalid",
    );
  });

  it("is refused when another cluster's CA made the member's certificate", () => {
    const forged = federation.system("east", "gateway", { signedBy: federation.cluster("west").ca });
    expect(codeOf({}, signMemberRequest({ credential: forged, ...request, now: NOW }))).toBe(
      "member_request_invalid",
    );
  });

  it("says that the certificate has expired when that is all that is wrong", () => {
    const old = federation.system("east", "gateway", { notAfterMs: NOW - 1000 });
    expect(codeOf({}, signMemberRequest({ credential: old, ...request, now: NOW }))).toBe(
      "member_request_expired",
    );
  });

  it("is no caller token, even one of a gateway", () => {
    const token = mintCallerToken({ credential: gateway, audience: "x", now: NOW });
    expect(codeOf({}, `Isthmus-Member ${token}`)).toBe("member_request_invalid");
  });

  it.each([
    ["another scheme", header.replace("Isthmus-Member", "Bearer")],
    ["no token", "Isthmus-Member"],
    ["an empty token", "Isthmus-Member "],
    ["two tokens", `${header} ${header.split(" ")[1]}`],
    ["two blanks", header.replace(" ", "  ")],
    ["nothing", ""],
  ])("is refused with %s", (_, authorization) => {
    expect(codeOf({}, authorization)).toBe("member_request_invalid");
  });

  it("is refused with a life that is longer than a minute, or without an identifier", async () => {
    const jwt = header.split(" ")[1]!;
    const claims = jose.decodeJwt(jwt);
    const protectedHeader = jose.decodeProtectedHeader(jwt) as jose.CompactJWSHeaderParameters;
    for (const changed of [
      { exp: claims.iat! + 61 },
      { jti: undefined },
      { jti: "short" },
      { exp: "soon" },
    ]) {
      const payload = new TextEncoder().encode(JSON.stringify({ ...claims, ...changed }));
      const made = await new jose.CompactSign(payload)
        .setProtectedHeader(protectedHeader)
        .sign(gateway.privateKey);
      expect(codeOf({}, `Isthmus-Member ${made}`)).toBe("member_request_invalid");
    }
  });

  it("is refused after any change of a character", () => {
    const start = "Isthmus-Member ".length;
    fc.assert(
      fc.property(
        fc.integer({ min: start, max: header.length - 1 }),
        fc.integer({ min: 33, max: 126 }),
        (at, code) => {
          const character = String.fromCharCode(code);
          fc.pre(header[at] !== character);
          // A changed digit of a time may make it one that has passed, which is judged first.
          expect(codeOf({}, header.slice(0, at) + character + header.slice(at + 1))).toMatch(
            /^member_request_(invalid|expired)$/,
          );
        },
      ),
      { numRuns: 300 },
    );
  });
});
