import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { unwrap } from "../../test/fakes/pki.ts";
import { isSignatureOf, isTime, parseCanonicalObject, parseJws, signJws } from "./jws.ts";

const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const EXPECTED = { alg: "Ed25519", typ: "test+jwt", members: ["kid"] } as const;
const good = signJws("Ed25519", { typ: "test+jwt", kid: "one" }, '{"a":1}', privateKey);
const [header = "", payload = "", signature = ""] = good.split(".");
const part = (text: string) => Buffer.from(text).toString("base64url");
const parse = (text: string) => parseJws(text, EXPECTED, 1000);

describe("a compact JWS", () => {
  it("is read back", () => {
    const jws = unwrap(parse(good));
    expect(jws.header).toEqual({ alg: "Ed25519", typ: "test+jwt", kid: "one" });
    expect(isSignatureOf(jws, "Ed25519", publicKey)).toBe(true);
  });

  it.each([
    ["two parts", `${header}.${payload}`],
    ["four parts", `${good}.`],
    ["five parts", `${good}.a.b`],
    ["an empty header", `.${payload}.${signature}`],
    ["no signature", `${header}.${payload}.`],
    ["a blank before it", ` ${good}`],
    ["a line end after it", `${good}\n`],
    ["a blank inside", `${header} .${payload}.${signature}`],
    ["padding", `${header}=.${payload}.${signature}`],
    ["the standard alphabet", good.replaceAll("_", "/").replaceAll("-", "+") + "+/"],
    ["a signature of 63 bytes", `${header}.${payload}.${Buffer.alloc(63).toString("base64url")}`],
    ["more than the limit", `${header}.${"A".repeat(1000)}.${signature}`],
    ["a header that is not JSON", `${part("{")}.${payload}.${signature}`],
    ["a header that is a list", `${part("[]")}.${payload}.${signature}`],
    ["a header that is null", `${part("null")}.${payload}.${signature}`],
    ["the algorithm none", `${part('{"alg":"none","typ":"test+jwt","kid":"one"}')}.${payload}.`],
    ["another algorithm", `${part('{"alg":"HS256","typ":"test+jwt","kid":"one"}')}.${payload}.${signature}`],
    ["another type", `${part('{"alg":"Ed25519","typ":"JWT","kid":"one"}')}.${payload}.${signature}`],
    ["no type", `${part('{"alg":"Ed25519","kid":"one"}')}.${payload}.${signature}`],
    ["a member less", `${part('{"alg":"Ed25519","typ":"test+jwt"}')}.${payload}.${signature}`],
    [
      "crit",
      `${part('{"alg":"Ed25519","typ":"test+jwt","kid":"one","crit":["x"]}')}.${payload}.${signature}`,
    ],
    [
      "a key of its own",
      `${part('{"alg":"Ed25519","typ":"test+jwt","kid":"one","jwk":{}}')}.${payload}.${signature}`,
    ],
    [
      "alg twice",
      `${part('{"alg":"none","alg":"Ed25519","typ":"test+jwt","kid":"one"}')}.${payload}.${signature}`,
    ],
    [
      "a blank in its header",
      `${part('{"alg": "Ed25519","typ":"test+jwt","kid":"one"}')}.${payload}.${signature}`,
    ],
    [
      "__proto__",
      `${part('{"__proto__":{"kid":"one"},"alg":"Ed25519","typ":"test+jwt"}')}.${payload}.${signature}`,
    ],
  ])("with %s is refused", (_, text) => {
    expect(parse(text).ok).toBe(false);
  });

  it("has no second text with the same bytes: stray bits after the last character are refused", () => {
    const last = signature.at(-1)!;
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const stray = alphabet[alphabet.indexOf(last) + 1]!;
    const other = `${header}.${payload}.${signature.slice(0, -1)}${stray}`;
    expect(Buffer.from(other.split(".")[2]!, "base64url")).toEqual(Buffer.from(signature, "base64url"));
    expect(parse(other).ok).toBe(false);
  });

  it("verifies after no change whatsoever", () => {
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 32, max: 126 }), (at, code) => {
        const character = String.fromCharCode(code);
        fc.pre(good[at] !== character);
        const jws = parse(good.slice(0, at) + character + good.slice(at + 1));
        expect(jws.ok && isSignatureOf(jws.value, "Ed25519", publicKey)).toBe(false);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("a JSON object in its one plain form", () => {
  it("is what JSON.stringify writes", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        const text = JSON.stringify(value);
        expect(parseCanonicalObject(Buffer.from(text)).ok).toBe(true);
      }),
    );
  });

  it.each([
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"a":1e0}',
    '{"a":1.0}',
    '{"a":-0}',
    '{"a":10000000000000000000001}',
    '{"a":"\\/"}',
    ' {"a":1}',
    '{"a":1}\n',
    '{"a":1}{}',
    "\ufeff{}",
    '"a"',
    "1",
    "",
  ])("is not %j", (text) => {
    expect(parseCanonicalObject(Buffer.from(text)).ok).toBe(false);
  });

  it("is not made of bytes that are no UTF-8", () => {
    expect(parseCanonicalObject(Buffer.from('{"a":"\xff"}', "latin1")).ok).toBe(false);
  });
});

it.each([-1, 1.5, Number.NaN, 1e300, "1", null, undefined, true])("%s is no time", (value) => {
  expect(isTime(value)).toBe(false);
});
