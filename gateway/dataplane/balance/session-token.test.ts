import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cookieValue, decodeSession, encodeSession, isExpired, opaqueName } from "./session-token.ts";

describe("a session's token", () => {
  it("comes back as it went", () => {
    const names = { cluster: opaqueName("east.acme.mesh"), endpoint: opaqueName("10.0.0.1:8080") };
    const target = { ...names, sinceS: 1_795_000_000 };
    expect(decodeSession(encodeSession(target))).toEqual(target);
    const versioned = { ...target, version: opaqueName("v2") };
    expect(decodeSession(encodeSession(versioned))).toEqual(versioned);
    expect(encodeSession(target)).not.toContain("10.0");
  });

  it.each([
    "",
    "alice",
    "01234567.01234567",
    "0123456.01234567.x",
    "01234567.0123456G.x",
    "01234567.01234567.X",
    "01234567.01234567.zzzzzzzzzzz",
    "01234567.01234567.x\r\n",
  ])("is not read from %j", (text) => expect(decodeSession(text)).toBeUndefined());

  it("expires by its own age, where a rule says when", () => {
    const target = { cluster: "", endpoint: "", sinceS: 100 };
    expect([160_000, 160_001].map((now) => isExpired(target, now, 60_000))).toEqual([false, true]);
    expect(isExpired(target, 1e15, undefined)).toBe(false);
  });
});

describe("cookieValue", () => {
  it.each([
    ["a=1", "a", "1"],
    ["b=2; a=1", "a", "1"],
    ["aa=2; a=1; a=3", "a", "1"],
    ['x=y;  a="q"', "a", "q"],
    ["a=", "a", ""],
    ["a", "a", undefined],
    ["", "a", undefined],
    ["ba=1", "a", undefined],
    ["a=b=c", "a", "b=c"],
  ])("finds in %j of %s: %j", (field, name, value) => {
    expect(cookieValue(field, name)).toBe(value);
  });

  it("never fails, and finds what was put in", () => {
    const word = fc.stringMatching(/^[a-zA-Z0-9_-]{1,12}$/);
    fc.assert(
      fc.property(fc.string(), word, (text, name) => {
        cookieValue(text, name);
      }),
    );
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(word, word), { selector: ([name]) => name, minLength: 1 }),
        fc.nat(),
        (pairs, at) => {
          const field = pairs.map(([name, value]) => `${name}=${value}`).join("; ");
          const [name = "", value] = pairs[at % pairs.length] ?? [];
          expect(cookieValue(field, name)).toBe(value);
        },
      ),
    );
  });
});
