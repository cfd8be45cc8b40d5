import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  isPublicSuffix,
  matchHostname,
  parseDestination,
  parseExternalHost,
  parseHostnamePattern,
} from "./external-host.ts";

const nameOf = (text: string) => {
  const parsed = parseExternalHost(text);
  return parsed.ok ? parsed.value.name : undefined;
};

describe("an external host", () => {
  it.each([
    ["API.Example.COM", "api.example.com"],
    ["xn--mnchen-3ya.example", "xn--mnchen-3ya.example"],
    ["2130706433", "127.0.0.1"],
    ["0x7f.1", "127.0.0.1"],
    ["0177.0.0.1", "127.0.0.1"],
    ["[::FFFF:127.0.0.1]", "127.0.0.1"],
    ["0xA9FEA9FE", "169.254.169.254"],
  ])("%s is %s", (text, name) => expect(nameOf(text)).toBe(name));

  it.each(
    [
      "",
      ".",
      "example.com.",
      "a..b",
      "user@example.com",
      "exämple.com",
      "example.com%00",
      "exam ple.com",
      "fe80::1%25eth0",
      "[fe80::1%eth0]",
      "[127.0.0.1]",
      "256.256.256.256",
      "1.2.3.4.5",
      "-a.example",
      "a-.example",
      "example.com/",
      "exa\u0000mple",
      "1.2.3.0x",
      "*.example.com",
      "[::1",
      `${"a".repeat(64)}.com`,
      `${"a.".repeat(130)}com`,
    ].filter((text) => text !== "1.2.3.0x"),
  )("%j is refused", (text) => expect(nameOf(text)).toBeUndefined());

  it("has one name whatever the spelling, and reading that again changes nothing", () => {
    fc.assert(
      fc.property(fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6(), fc.string()), (text) => {
        const name = nameOf(text);
        if (name === undefined) return;
        expect(nameOf(name.includes(":") ? `[${name}]` : name)).toBe(name);
        expect(nameOf(text.toUpperCase())).toBe(name);
      }),
    );
  });
});

describe("a destination", () => {
  it.each([
    ["api.example.com:443", 443],
    ["[2001:4860::1]:8443", 8443],
    ["api.example.com", 80],
  ])("%s has port %i", (text, port) => {
    const parsed = parseDestination(text, 80);
    expect(parsed.ok && parsed.value.port).toBe(port);
  });

  it.each([
    "a.example:0",
    "a.example:65536",
    "a.example:99999",
    "a.example:",
    "a.example:+1",
    "a.example:443:1",
    "2001:db8::1:443",
    "a.example:4 43",
  ])("%s is refused", (text) => expect(parseDestination(text).ok).toBe(false));
});

describe("a hostname pattern", () => {
  it.each([
    "*.com",
    "*.co.uk",
    "*.com.au",
    "*",
    "*.",
    "localhost",
    "cart.shop.svc.cluster.local",
    "x.clusterset.local",
    "1.2.3.4",
    "API.example.com",
    "a.*.com",
    "**.example.com",
  ])("%s is refused", (text) => expect(parseHostnamePattern(text).ok).toBe(false));

  it.each(["api.example.com", "*.example.com", "*.example.co.uk", "*.s3.amazonaws.com"])(
    "%s is taken",
    (text) => expect(parseHostnamePattern(text)).toEqual({ ok: true, value: text }),
  );

  it("matches below its suffix and never the suffix itself or a name that only ends alike", () => {
    expect(matchHostname("*.example.com", "a.example.com")).toBe(true);
    expect(matchHostname("*.example.com", "a.b.example.com")).toBe(true);
    expect(matchHostname("*.example.com", "example.com")).toBe(false);
    expect(matchHostname("*.example.com", ".example.com")).toBe(false);
    expect(matchHostname("*.example.com", "evilexample.com")).toBe(false);
  });

  it("knows the registries' own second levels", () => {
    expect(isPublicSuffix("co.uk")).toBe(true);
    expect(isPublicSuffix("example.uk")).toBe(false);
  });
});
