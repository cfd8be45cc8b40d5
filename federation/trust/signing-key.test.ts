import { createHash, generateKeyPairSync } from "node:crypto";
import * as jose from "jose";
import { describe, expect, it } from "vitest";
import { unwrap } from "../../test/fakes/pki.ts";
import { createJoinToken, peekJoinToken, verifyJoinToken } from "./join-token.ts";
import { createP256Key, privateKeyToPem } from "./keys.ts";
import { isRole, issueOperatorToken, roleCovers, verifyOperatorToken } from "./operator-token.ts";
import { createSigningKey, loadSigningKey, signingKeySet } from "./signing-key.ts";
import { joinJws } from "./jws.ts";
import { signSnapshot, verifySnapshot } from "./snapshot-signature.ts";

const NOW = Date.UTC(2026, 10, 1, 12);
const federation = "demo.mesh";
const key = unwrap(loadSigningKey(createSigningKey().privateKeyPem));
const other = unwrap(loadSigningKey(createSigningKey().privateKeyPem));
const keySet = signingKeySet([key]);
const snapshot = JSON.stringify({ kind: "Snapshot", revision: 7 });

const codeOf = (result: { ok: true } | { ok: false; error: { name: string } }) =>
  result.ok ? "accepted" : result.error.name;

/** A token made by jose with anything in it. */
function joseToken(typ: string, claims: object, header: object = {}, signer = key): Promise<string> {
  return new jose.CompactSign(new TextEncoder().encode(JSON.stringify(claims)))
    .setProtectedHeader({ alg: "Ed25519", typ, kid: signer.kid, ...header })
    .sign(signer.privateKey);
}

describe("the registry's key", () => {
  it("has its RFC 7638 thumbprint for a name", async () => {
    expect(key.kid).toBe(await jose.calculateJwkThumbprint(key.publicJwk));
  });

  it("is refused when the file is damaged or holds another kind of key", () => {
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
    const damaged = [
      "",
      createSigningKey().privateKeyPem.slice(0, 60),
      privateKeyToPem(createP256Key()),
      privateKeyToPem(rsa),
    ];
    for (const pem of damaged) expect(codeOf(loadSigningKey(pem))).toBe("state_unusable");
  });

  it("publishes no private part", () => {
    expect(JSON.stringify(keySet)).not.toContain('"d"');
  });
});

describe.each(["whole", "digest"] as const)("a snapshot's signature over the %s", (form) => {
  const signed = async (by: typeof key) => joinJws(await signSnapshot(Buffer.from(snapshot), by, form));

  it("verifies here and with jose, and gives what was signed", async () => {
    const jws = await signed(key);
    expect(unwrap(await verifySnapshot(jws, keySet))).toEqual(JSON.parse(snapshot));
    const [header, , signature] = jws.split(".");
    const content = form === "whole" ? Buffer.from(snapshot) : createHash("sha256").update(snapshot).digest();
    const plain = `${header}.${content.toString("base64url")}.${signature}`;
    const { payload } = await jose.compactVerify(plain, await jose.importJWK(key.publicJwk));
    expect(Buffer.from(payload)).toEqual(content);
  });

  it("verifies with the old and the new key while one follows the other", async () => {
    const both = signingKeySet([key, other]);
    expect(codeOf(await verifySnapshot(await signed(key), both))).toBe("accepted");
    expect(codeOf(await verifySnapshot(await signed(other), both))).toBe("accepted");
    expect(codeOf(await verifySnapshot(await signed(other), keySet))).toBe("snapshot_signature");
  });

  it.each([
    ["no key", { keys: [] }],
    ["five keys of one name", { keys: Array.from({ length: 5 }, () => key.publicJwk) }],
    ["another key under that name", { keys: [{ ...other.publicJwk, kid: key.kid }] }],
    ["a key for encryption", { keys: [{ ...key.publicJwk, use: "enc" }] }],
    ["a key for another operation", { keys: [{ ...key.publicJwk, key_ops: ["sign"] }] }],
    ["a key for another algorithm", { keys: [{ ...key.publicJwk, alg: "ES256" }] }],
    ["a key of another type", { keys: [{ kty: "EC", crv: "P-256", x: "AA", y: "AA", kid: key.kid }] }],
    ["a key that is cut off", { keys: [{ ...key.publicJwk, x: "AAAA" }] }],
  ])("is refused with %s", async (_, keys) => {
    expect(codeOf(await verifySnapshot(await signed(key), keys))).toBe("snapshot_signature");
  });

  it("is refused on garbage, on HTML and on a changed payload", async () => {
    const jws = await signed(key);
    const [header, , signature] = jws.split(".");
    const payload = Buffer.from('{"revision":8}').toString("base64url");
    const texts = ["", "<html></html>", "{}", `${header}.${payload}.${signature}`, `${jws}\n`, `${jws}.`];
    for (const text of [...texts, `${jws}.x`, jws.replace(".", "=."), `${header}..${signature}`]) {
      expect(codeOf(await verifySnapshot(text, keySet))).toBe("snapshot_signature");
    }
  });

  it("is not that of a join token: the types are different", async () => {
    const { token } = await createJoinToken({ key, federation, cluster: "east", now: NOW });
    expect(codeOf(await verifySnapshot(token, keySet))).toBe("snapshot_signature");
  });

  it("says so when what was signed is not JSON", async () => {
    const jws = joinJws(await signSnapshot(Buffer.from("hello"), key, form));
    expect(codeOf(await verifySnapshot(jws, keySet))).toBe("snapshot_malformed");
  });

  it("does not pass for that of the other form", async () => {
    const parts = await signSnapshot(Buffer.from(snapshot), key, form);
    const relabel = form === "whole" ? ["+jws", "-digest+jws"] : ["-digest+jws", "+jws"];
    const header = Buffer.from(parts.header, "base64url").toString();
    const relabelled = Buffer.from(header.replace(relabel[0] ?? "", relabel[1] ?? "")).toString("base64url");
    const digest = createHash("sha256").update(snapshot).digest();
    for (const forged of [
      { header: relabelled },
      { header: relabelled, payload: digest },
      { payload: digest },
    ])
      expect(codeOf(await verifySnapshot(joinJws({ ...parts, ...forged }), keySet))).toBe(
        "snapshot_signature",
      );
  });
});

describe("a join token", () => {
  const make = () => createJoinToken({ key, federation, cluster: "east", now: NOW });
  const expected = { keySet, federation, cluster: "east", now: NOW };

  it("lets its bearer join as one cluster for a quarter of an hour", async () => {
    const { token, jti, expiresAtMs } = await make();
    expect(expiresAtMs).toBe(NOW + 900_000);
    expect(unwrap(await verifyJoinToken(token, expected))).toEqual({
      federation,
      cluster: "east",
      jti,
      expiresAtMs,
    });
  });

  it("has another identifier each time, for the store to spend", async () => {
    expect((await make()).jti).not.toBe((await make()).jti);
  });

  it("tells its bearer what it is for, without a key", async () => {
    expect(unwrap(peekJoinToken((await make()).token))).toMatchObject({ federation, cluster: "east" });
    expect(codeOf(peekJoinToken("eyJ"))).toBe("join_token_invalid");
  });

  it.each([
    ["another cluster", { cluster: "west" }, "join_token_cluster"],
    ["another federation", { federation: "other.mesh" }, "join_token_invalid"],
    ["a registry with another key", { keySet: signingKeySet([other]) }, "join_token_invalid"],
    ["the moment of its end", { now: NOW + 900_000 }, "join_token_expired"],
    ["the moment before its end", { now: NOW + 899_999 }, "accepted"],
    ["no cluster named", { cluster: undefined }, "accepted"],
  ])("for %s: %s", async (_, changed, code) => {
    const { cluster, ...rest } = { ...expected, ...changed };
    const request = cluster === undefined ? rest : { ...rest, cluster };
    expect(codeOf(await verifyJoinToken((await make()).token, request))).toBe(code);
  });

  it("is refused without any of its claims, and as a token of another type", async () => {
    const claims = {
      iss: federation,
      sub: "east",
      iat: NOW / 1000,
      exp: NOW / 1000 + 900,
      jti: "0123456789abcdef",
    };
    expect(codeOf(await verifyJoinToken(await joseToken("isthmus-join+jwt", claims), expected))).toBe(
      "accepted",
    );
    for (const name of ["iss", "sub", "exp", "jti"]) {
      const made = await joseToken("isthmus-join+jwt", { ...claims, [name]: undefined });
      expect(codeOf(await verifyJoinToken(made, expected))).toBe("join_token_invalid");
    }
    const operator = await joseToken("isthmus-operator+jwt", { ...claims, role: "admin" });
    expect(codeOf(await verifyJoinToken(operator, expected))).toBe("join_token_invalid");
  });
});

describe("an operator token", () => {
  const expected = { keySet, federation, now: NOW };
  const claims = {
    iss: federation,
    sub: "ada",
    role: "editor",
    iat: NOW / 1000,
    exp: NOW / 1000 + 60,
    jti: "x",
  };
  const verifyMade = async (changed: object, typ = "isthmus-operator+jwt") =>
    codeOf(await verifyOperatorToken(await joseToken(typ, { ...claims, ...changed }), expected));

  it("tells who the operator is and what they may do", async () => {
    const { token } = await issueOperatorToken({
      ...{ key, federation, subject: "ada", role: "editor", now: NOW, lifetimeMs: 60_000 },
    });
    expect(unwrap(await verifyOperatorToken(token, expected))).toMatchObject({
      subject: "ada",
      role: "editor",
      expiresAtMs: NOW + 60_000,
    });
  });

  it.each([
    ["nothing changed", {}, "accepted"],
    ["a role that does not exist", { role: "root" }, "unauthenticated"],
    ["a role of an object's prototype", { role: "constructor" }, "unauthenticated"],
    ["no subject", { sub: undefined }, "unauthenticated"],
    ["another federation", { iss: "other.mesh" }, "unauthenticated"],
    ["its end reached", { exp: NOW / 1000 }, "unauthenticated"],
    ["an end as text", { exp: "tomorrow" }, "unauthenticated"],
    ["a start in the future", { iat: NOW / 1000 + 31 }, "unauthenticated"],
  ])("with %s: %s", async (_, changed, code) => {
    expect(await verifyMade(changed)).toBe(code);
  });

  it("is not a join token", async () => {
    expect(await verifyMade({}, "isthmus-join+jwt")).toBe("unauthenticated");
  });

  it("of a greater role may do what a lesser one may, and not the other way round", () => {
    expect(
      roleCovers("admin", "viewer") && roleCovers("editor", "viewer") && roleCovers("admin", "admin"),
    ).toBe(true);
    expect(roleCovers("viewer", "editor") || roleCovers("editor", "admin")).toBe(false);
    expect(isRole("admin") && !isRole("Admin") && !isRole(undefined)).toBe(true);
  });
});
