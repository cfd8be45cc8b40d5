import { beforeEach, describe, expect, it } from "vitest";
import { mintCallerToken } from "../../../federation/trust/index.ts";
import { createTestFederation, type TestFederation } from "../../../test/fakes/pki.ts";
import { CallerVerifier } from "./caller-verifier.ts";
import { compilePeerTrust, type PeerTrust } from "./peer-trust.ts";

const NOW = 1_800_000_000_000;
const MAX_CACHED = 8;
const AUDIENCE = "east.test.mesh/shop/cart";

describe("the verifier of caller tokens", () => {
  let federation: TestFederation;
  let trust: PeerTrust;
  let asked: number;
  let verifier: CallerVerifier;
  beforeEach(() => {
    federation = createTestFederation("test.mesh", ["east", "west"], NOW);
    asked = 0;
    const { bundles, ...rest } = compilePeerTrust(federation.bundles, []);
    // A look-up of a bundle is what tells that a token was really verified and not remembered.
    const counted = {
      get: (domain: Parameters<typeof bundles.get>[0]) => ((asked += 1), bundles.get(domain)),
    };
    trust = { ...rest, bundles: counted };
    verifier = new CallerVerifier(MAX_CACHED);
  });

  const token = (audience = AUDIENCE, lifetimeMs = 300_000) =>
    mintCallerToken({
      credential: federation.credential("west", "shop", "web"),
      audience,
      now: NOW,
      lifetimeMs,
    });

  const verify = (text: string | undefined, audience = AUDIENCE, now = NOW, by = trust) =>
    verifier.verify(text, audience, by, now);

  it("finds the caller, and remembers a token that verified", () => {
    const text = token();
    expect(verify(text)).toMatchObject({
      ok: true,
      value: { uri: "spiffe://west.test.mesh/ns/shop/sa/web" },
    });
    const once = asked;
    expect(verify(text)).toMatchObject({ ok: true });
    expect(asked).toBe(once);
  });

  it("remembers by audience, so that a token is good for its own service only", () => {
    const text = token();
    verify(text);
    expect(verify(text, "east.test.mesh/shop/other")).toMatchObject({
      error: { name: "caller_token_audience" },
    });
  });

  it("remembers no longer than the token lives", () => {
    const text = token(AUDIENCE, 60_000);
    expect(verify(text).ok).toBe(true);
    expect(verify(text, AUDIENCE, NOW + 59_999).ok).toBe(true);
    expect(verify(text, AUDIENCE, NOW + 60_000)).toMatchObject({ error: { name: "caller_token_expired" } });
  });

  it("forgets everything when the trust changes", () => {
    const text = token();
    verify(text);
    const denying = compilePeerTrust(federation.bundles, [federation.cluster("west").trustDomain]);
    expect(verify(text, AUDIENCE, NOW, denying)).toMatchObject({ error: { name: "peer_denied" } });
    const stranger = compilePeerTrust(federation.bundles.slice(0, 1), []);
    expect(verify(text, AUDIENCE, NOW, stranger)).toMatchObject({ error: { name: "caller_token_invalid" } });
    const once = asked;
    expect(verify(text).ok).toBe(true);
    expect(asked).toBeGreaterThan(once);
  });

  it("remembers only so many tokens, and no refusals among them", () => {
    const others = Array.from({ length: MAX_CACHED }, (_, other) => `east.test.mesh/shop/s${other}`);
    const [first, ...rest] = [AUDIENCE, ...others].map((audience) => [token(audience), audience] as const);
    if (first === undefined) throw new Error("no token");
    verify(...first);
    for (let attempt = 0; attempt < MAX_CACHED; attempt++) verify("not a token");
    const once = asked;
    verify(...first);
    expect(asked).toBe(once);
    for (const other of rest) verify(...other);
    const before = asked;
    expect(verify(...first).ok).toBe(true);
    expect(asked).toBeGreaterThan(before);
  });

  it.each([
    ["no token", undefined, "caller_token_missing"],
    ["an empty token", "", "caller_token_missing"],
    ["something else", "Bearer x", "caller_token_invalid"],
  ])("refuses %s", (_what, text, name) => {
    expect(verify(text)).toMatchObject({ ok: false, error: { name } });
  });
});
