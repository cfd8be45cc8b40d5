import * as jose from "jose";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bundleOf, createTestFederation, unwrap } from "../../test/fakes/pki.ts";
import { parseTrustDomain } from "../model/spiffe-id.ts";
import { bundleFromJwks, bundlesFromMap, bundlesToMap, bundleToJwks } from "./bundle-document.ts";
import { repeatedMember } from "./json-members.ts";

const federation = createTestFederation("demo.mesh", ["east", "west"], Date.UTC(2026, 10, 1));
const east = unwrap(parseTrustDomain("east.demo.mesh"));
const rootDer = federation.root.certificateDer;
const bundle = { ...bundleOf(east, rootDer), sequence: 41 };
const [authority = ""] = bundle.x509Authorities;

describe("a SPIFFE bundle", () => {
  it("has per authority one JWK of use x509-svid with one certificate and no kid", () => {
    const document = bundleToJwks(bundle);
    expect(document).toEqual({
      keys: [
        {
          kty: "EC",
          crv: "P-256",
          x: expect.any(String),
          y: expect.any(String),
          use: "x509-svid",
          x5c: [authority],
        },
      ],
      spiffe_sequence: 41,
      spiffe_refresh_hint: 300,
    });
  });

  it("gives the authority's key to jose", async () => {
    const [jwk] = bundleToJwks(bundle).keys;
    const pem = `-----BEGIN CERTIFICATE-----\n${authority}\n-----END CERTIFICATE-----`;
    const certified = await jose.exportJWK(await jose.importX509(pem, "ES256", { extractable: true }));
    expect(certified).toMatchObject({ x: jwk!.x, y: jwk!.y });
  });

  it("comes back as it went", () => {
    expect(unwrap(bundleFromJwks(east, JSON.parse(JSON.stringify(bundleToJwks(bundle)))))).toEqual(bundle);
  });

  it("may be empty: everything is revoked", () => {
    expect(unwrap(bundleFromJwks(east, { keys: [] }))).toEqual({
      trustDomain: east,
      sequence: 0,
      x509Authorities: [],
    });
  });

  it("leaves out entries of kinds that we do not know", () => {
    const [good] = bundleToJwks(bundle).keys;
    const keys = [
      { kty: "EC", use: "jwt-svid", kid: "a" },
      { kty: "EC", use: "wit-svid", kid: "a" },
      { kty: "EC" },
      { ...good, x5c: undefined },
      { ...good, x5c: [] },
      { ...good, x5c: [7] },
      { ...good, x5c: ["AAAA"] },
      { ...good, x5c: [`${authority}\n`] },
      null,
      "key",
      good,
    ];
    expect(unwrap(bundleFromJwks(east, { keys, spiffe_sequence: 3 })).x509Authorities).toEqual([authority]);
  });

  it("counts only the first certificate of an entry", () => {
    const [good] = bundleToJwks(bundle).keys;
    const keys = [{ ...good, x5c: [authority, authority] }];
    expect(unwrap(bundleFromJwks(east, { keys })).x509Authorities).toEqual([authority]);
  });

  it.each([
    ["no object", []],
    ["nothing", null],
    ["no keys", {}],
    ["keys that are no list", { keys: {} }],
    ["a sequence as text", { keys: [], spiffe_sequence: "1" }],
    ["a negative sequence", { keys: [], spiffe_sequence: -1 }],
    ["a sequence with a fraction", { keys: [], spiffe_sequence: 1.5 }],
  ])("is refused as %s", (_, document) => {
    expect(bundleFromJwks(east, document)).toMatchObject({ ok: false, error: { name: "file_invalid" } });
  });
});

describe("a SPIFFE bundle map", () => {
  const text = JSON.stringify(bundlesToMap(federation.bundles), undefined, 2);

  it("comes back with its authorities, and without intermediates: SPIFFE has no place for them", () => {
    const authorities = federation.bundles.map(({ trustDomain, sequence, x509Authorities }) => ({
      ...{ trustDomain, sequence, x509Authorities },
    }));
    expect(unwrap(bundlesFromMap(text))).toEqual(authorities);
  });

  it.each([
    ["cut off", text.slice(0, -5)],
    ["HTML", "<html></html>"],
    ["a list", "[]"],
    ["a map without trust_domains", "{}"],
    ["a name that is no trust domain", '{"trust_domains":{"East":{"keys":[]}}}'],
    ["one bad bundle among good ones", '{"trust_domains":{"east":{"keys":[]},"west":{}}}'],
    ["one trust domain twice", '{"trust_domains":{"east":{"keys":[]},"east":{"keys":[]}}}'],
    [
      "one trust domain twice, once escaped",
      '{"trust_domains":{"east":{"keys":[]},"\\u0065ast":{"keys":[]}}}',
    ],
    ["keys twice, deep inside", '{"trust_domains":{"east":{"keys":[],"keys":[]}}}'],
  ])("is refused as %s", (_, document) => {
    expect(bundlesFromMap(document)).toMatchObject({ ok: false, error: { name: "file_invalid" } });
  });
});

describe("members that occur twice", () => {
  it("are found in no text that JSON.stringify wrote", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(repeatedMember(JSON.stringify(value))).toBeUndefined();
        expect(repeatedMember(JSON.stringify(value, undefined, 1))).toBeUndefined();
      }),
    );
  });

  it("are found wherever they hide among strings, lists and other objects", () => {
    const names = fc.string({ minLength: 1 });
    fc.assert(
      fc.property(names, fc.jsonValue(), fc.jsonValue(), (name, before, between) => {
        const member = JSON.stringify(name);
        const text = `[${JSON.stringify(before)},{${member}:${JSON.stringify(between)},${member}:0}]`;
        expect(repeatedMember(text)).toBe(name);
      }),
    );
  });
});
