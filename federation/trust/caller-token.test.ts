import { createPublicKey } from "node:crypto";
import fc from "fast-check";
import * as jose from "jose";
import { describe, expect, it } from "vitest";
import { createTestFederation, unwrap } from "../../test/fakes/pki.ts";
import { serviceAudience } from "../model/service.ts";
import { mintCallerToken, verifyCallerToken } from "./caller-token.ts";
import { signMemberRequest } from "./member-request.ts";

const NOW = Date.UTC(2026, 10, 1, 12);
const SECOND = NOW / 1000;
const federation = createTestFederation("demo.mesh", ["east", "west"], NOW);
const web = federation.credential("west", "shop", "web");
const audience = serviceAudience(federation.cluster("east").trustDomain, { namespace: "shop", name: "cart" });
const x5c = web.chainDer.map((der) => der.toString("base64"));
const token = mintCallerToken({ credential: web, audience, now: NOW });

const verify = (text: string, now = NOW, of = audience) =>
  verifyCallerToken(text, { bundles: federation.index, audience: of, now });

function codeOf(result: ReturnType<typeof verifyCallerToken>): string {
  return result.ok ? "accepted" : result.error.name;
}

const GOOD_CLAIMS = { sub: web.spiffeId.uri, aud: audience, iat: SECOND, exp: SECOND + 300 };
const GOOD_HEADER = { alg: "ES256", typ: "JWT", x5c };

function joseToken(claims: object, header: object = {}, key = web.privateKey): Promise<string> {
  const payload = new TextEncoder().encode(JSON.stringify({ ...GOOD_CLAIMS, ...claims }));
  const protectedHeader = { ...GOOD_HEADER, ...header } as jose.CompactJWSHeaderParameters;
  return new jose.CompactSign(payload).setProtectedHeader(protectedHeader).sign(key);
}

describe("a caller token", () => {
  it("tells who calls, and until when that holds", () => {
    expect(unwrap(verify(token))).toEqual({ caller: web.spiffeId, expiresAtMs: NOW + 300_000 });
  });

  it("is verified by jose as well", async () => {
    const { x5c: chain = [] } = jose.decodeProtectedHeader(token);
    const leaf = `-----BEGIN CERTIFICATE-----\n${chain[0]}\n-----END CERTIFICATE-----`;
    const { payload, protectedHeader } = await jose.jwtVerify(token, await jose.importX509(leaf, "ES256"), {
      audience,
      subject: web.spiffeId.uri,
      algorithms: ["ES256"],
      currentDate: new Date(NOW),
    });
    expect(payload).toEqual(GOOD_CLAIMS);
    expect(protectedHeader).toEqual(GOOD_HEADER);
  });

  it("made by jose is accepted", async () => {
    expect(codeOf(verify(await joseToken({})))).toBe("accepted");
  });

  it("never outlives its SVID", () => {
    const short = federation.credential("west", "shop", "web", { notAfterMs: NOW + 5000 });
    const late = mintCallerToken({ credential: short, audience, now: NOW, lifetimeMs: 60_000 });
    expect(unwrap(verify(late)).expiresAtMs).toBe(NOW + 5000);
    expect(codeOf(verify(late, NOW + 5001))).toBe("caller_token_expired");
  });

  const claims: readonly [string, string, object][] = [
    ["another subject", "caller_token_invalid", { sub: "spiffe://west.demo.mesh/ns/shop/sa/admin" }],
    ["no subject", "caller_token_invalid", { sub: undefined }],
    ["another audience", "caller_token_audience", { aud: "east.demo.mesh/shop/stock" }],
    ["a list of audiences", "caller_token_audience", { aud: [audience] }],
    ["no audience", "caller_token_audience", { aud: undefined }],
    ["an audience in capitals", "caller_token_audience", { aud: audience.toUpperCase() }],
    ["no expiry", "caller_token_invalid", { exp: undefined }],
    ["an expiry as text", "caller_token_invalid", { exp: String(SECOND + 300) }],
    ["an expiry with a fraction", "caller_token_invalid", { exp: SECOND + 300.5 }],
    ["an expiry at infinity", "caller_token_invalid", { exp: 1e300 }],
    ["a negative issue time", "caller_token_invalid", { iat: -1 }],
    ["no issue time", "caller_token_invalid", { iat: undefined }],
    ["a life of more than an hour", "caller_token_invalid", { exp: SECOND + 3601 }],
    ["an expiry that is now", "caller_token_expired", { exp: SECOND }],
    ["an issue time over a minute ahead", "caller_token_expired", { iat: SECOND + 61 }],
    ["an issue time a minute ahead", "accepted", { iat: SECOND + 60 }],
    ["a claim that we do not know", "accepted", { act: "x" }],
  ];
  it.each(claims)("with %s: %s", async (_, code, changed) => {
    expect(codeOf(verify(await joseToken(changed)))).toBe(code);
  });

  const headers: readonly [string, object][] = [
    ["another type", { typ: "at+jwt" }],
    ["no type", { typ: undefined }],
    ["no chain", { x5c: undefined }],
    ["an empty chain", { x5c: [] }],
    ["a chain as text", { x5c: x5c[0] }],
    ["numbers for certificates", { x5c: [1, 2] }],
    ["a chain in base64url", { x5c: x5c.map((text) => Buffer.from(text, "base64").toString("base64url")) }],
    ["blanks in the chain", { x5c: x5c.map((text) => `${text.slice(0, 40)} ${text.slice(40)}`) }],
    ["the chain turned around", { x5c: [...x5c].reverse() }],
    ["a key name", { kid: "x" }],
    ["a key of its own", { jwk: { kty: "EC" } }],
    ["a key elsewhere", { jku: "https://example.org/keys" }],
  ];
  it.each(headers)("with %s in its header is refused", async (_, changed) => {
    expect(codeOf(verify(await joseToken({}, changed)))).toBe("caller_token_invalid");
  });

  it("signed with another key is refused, even one of the same trust domain", async () => {
    const other = federation.credential("west", "shop", "batch");
    expect(codeOf(verify(await joseToken({}, {}, other.privateKey)))).toBe("caller_token_invalid");
  });

  it("signed with a public key as an HMAC secret is refused", async () => {
    const secret = createPublicKey(web.privateKey).export({ format: "der", type: "spki" });
    const confused = await new jose.CompactSign(new TextEncoder().encode(JSON.stringify(GOOD_CLAIMS)))
      .setProtectedHeader({ alg: "HS256", typ: "JWT", x5c })
      .sign(secret);
    expect(codeOf(verify(confused))).toBe("caller_token_invalid");
  });

  it("without a signature is refused", () => {
    const header = Buffer.from(JSON.stringify({ alg: "none", typ: "JWT", x5c })).toString("base64url");
    expect(codeOf(verify(`${header}.${token.split(".")[1]}.`))).toBe("caller_token_invalid");
  });

  it("with a signature in DER is refused", async () => {
    const { sign } = await import("node:crypto");
    const input = token.slice(0, token.lastIndexOf("."));
    const der = sign("sha256", Buffer.from(input), web.privateKey).toString("base64url");
    expect(codeOf(verify(`${input}.${der}`))).toBe("caller_token_invalid");
  });

  it("of a workload whose chain is forged, expired or foreign is refused", () => {
    const mint = (credential: typeof web) => verify(mintCallerToken({ credential, audience, now: NOW }));
    const forged = federation.credential("west", "shop", "web", { signedBy: federation.cluster("east").ca });
    expect(codeOf(mint(forged))).toBe("caller_token_invalid");
    expect(mint(forged)).toMatchObject({
      error: { detail: expect.stringContaining("peer_issuer_mismatch") },
    });
    const foreign = createTestFederation("demo.mesh", ["west"], NOW).credential("west", "shop", "web");
    expect(codeOf(mint(foreign))).toBe("caller_token_invalid");
    const expired = federation.credential("west", "shop", "web", { notAfterMs: NOW - 1000 });
    expect(codeOf(mint(expired))).toBe("caller_token_expired");
    const early = federation.credential("west", "shop", "web", { notBeforeMs: NOW + 1000 });
    expect(codeOf(mint(early))).toBe("caller_token_expired");
  });

  it("is not a member request: the types are different", () => {
    const member = federation.system("west", "gateway");
    const url = "/v1/clusters/west/snapshot";
    const header = signMemberRequest({ credential: member, method: "GET", url, body: undefined, now: NOW });
    expect(codeOf(verify(header.split(" ")[1]!))).toBe("caller_token_invalid");
  });

  it.each([
    ["nothing", ""],
    ["blanks", "   "],
    ["dots", ".."],
    ["many dots", ".".repeat(8000)],
    ["too much", `${"A".repeat(9000)}.${token}`],
  ])("made of %s is refused", (_, text) => {
    expect(codeOf(verify(text))).toBe("caller_token_invalid");
  });

  it("is refused after any change of a character", () => {
    fc.assert(
      fc.property(fc.nat(token.length - 1), fc.integer({ min: 0, max: 0x17f }), (at, code) => {
        const character = String.fromCharCode(code);
        fc.pre(token[at] !== character);
        expect(verify(token.slice(0, at) + character + token.slice(at + 1)).ok).toBe(false);
      }),
      { numRuns: 1500 },
    );
  });

  it("is refused after anything was cut out, put in or moved", () => {
    const at = fc.nat(token.length);
    fc.assert(
      fc.property(at, at, fc.string({ minLength: 1, maxLength: 4 }), (from, to, extra) => {
        const [low, high] = [Math.min(from, to), Math.max(from, to)];
        fc.pre(low < high);
        expect(verify(token.slice(0, low) + token.slice(high)).ok).toBe(false);
        expect(verify(token.slice(0, low) + extra + token.slice(low)).ok).toBe(false);
        const moved = token.slice(low, high) + token.slice(0, low) + token.slice(high);
        expect(moved === token || !verify(moved).ok).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it("is judged as jose judges it, whatever its times and subject are", async () => {
    const key = await jose.importX509(web.chainPem.slice(0, web.chainPem.indexOf("-----END") + 25), "ES256");
    const offsets = fc.integer({ min: -120, max: 120 });
    await fc.assert(
      fc.asyncProperty(
        offsets,
        offsets,
        fc.boolean(),
        fc.boolean(),
        async (iat, exp, wrongAudience, wrongSubject) => {
          const made = await joseToken({
            iat: SECOND + iat,
            exp: SECOND + exp,
            ...(wrongAudience && { aud: `${audience}/` }),
            ...(wrongSubject && { sub: `${web.spiffeId.uri}2` }),
          });
          const judged = await jose
            .jwtVerify(made, key, { audience, subject: web.spiffeId.uri, currentDate: new Date(NOW) })
            .then(
              () => true,
              () => false,
            );
          // jose leaves an issue time in the future to its caller.
          expect(verify(made).ok).toBe(judged && iat <= 60);
        },
      ),
      { numRuns: 60 },
    );
  });
});
