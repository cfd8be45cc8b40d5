import { describe, expect, it } from "vitest";
import { createManualClock } from "../../test/fakes/manual-clock.ts";
import { createTestFederation } from "../../test/fakes/pki.ts";
import { createCallerTokenCache } from "./caller-token-cache.ts";

function scene(maxTokens?: number) {
  const clock = createManualClock();
  const federation = createTestFederation("demo.mesh", ["east"], clock.now());
  const credential = federation.credential("east", "shop", "web");
  const cache = createCallerTokenCache(clock, maxTokens);
  let signed = 0;
  const get = (audience: string) =>
    cache.get(credential.spiffeId, audience, () => {
      signed++;
      return credential;
    });
  return { clock, cache, get, signed: () => signed };
}

describe("createCallerTokenCache", () => {
  it("signs once for each audience until two thirds of the token's life", () => {
    const { clock, get, signed } = scene();
    for (let second = 0; second < 200; second++) {
      get("a");
      get("b");
      clock.advance(1000);
    }
    expect(signed()).toBe(2);
    get("a");
    expect(signed()).toBe(3);
  });

  it("is bounded: beyond the limit it begins anew", () => {
    const { get, signed } = scene(3);
    for (const audience of ["a", "b", "c", "a", "b", "c"]) get(audience);
    expect(signed()).toBe(3);
    get("d");
    get("d");
    expect(signed()).toBe(4);
    get("a");
    expect(signed()).toBe(5);
  });

  it("forgets what is stale, and counts it no more", () => {
    const { clock, cache, get, signed } = scene(3);
    for (const audience of ["a", "b", "c"]) get(audience);
    clock.advance(250_000);
    cache.sweep();
    for (const audience of ["d", "e", "f", "d", "e", "f"]) get(audience);
    expect(signed()).toBe(6);
  });

  it("signs anew for an audience that went stale without counting it twice", () => {
    const { clock, get, signed } = scene(2);
    for (let round = 0; round < 5; round++) {
      get("a");
      get("b");
      clock.advance(250_000);
    }
    expect(signed()).toBe(10);
  });
});
