import { describe, expect, it } from "vitest";
import { PROTECTED_FIELDS } from "../../../federation/model/traffic-route.ts";
import { editFields, withHost, withTarget } from "./edit-head.ts";
import { fieldKind, ORDINARY } from "./field-kinds.ts";

const HEAD = "GET /a?b HTTP/1.1\r\nHost: one\r\nX-One: 1\r\nx-two: 2\r\nX-ONE: 3\r\n";

describe("an edited head", () => {
  it("loses every field of a dropped name, whatever its case, and gains lines at its end", () => {
    expect(editFields(HEAD, { dropped: new Set(["x-one"]), addedText: "x-three: 3\r\n" })).toBe(
      "GET /a?b HTTP/1.1\r\nHost: one\r\nx-two: 2\r\nx-three: 3\r\n",
    );
  });

  it("is as it was where nothing is dropped", () => {
    expect(editFields(HEAD, { dropped: new Set(), addedText: "" })).toBe(HEAD);
    expect(editFields(HEAD, { dropped: new Set(["x-none"]), addedText: "" })).toBe(HEAD);
  });

  it("has another target or another host, and nothing else", () => {
    expect(withTarget(HEAD, "/c")).toBe(HEAD.replace("/a?b", "/c"));
    expect(withHost(HEAD, "two")).toBe(`${HEAD.replace("Host: one\r\n", "")}host: two\r\n`);
  });
});

describe("fields that mean something to a proxy", () => {
  const NAMES = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "expect",
    "via",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
    "http2-settings",
    "x-forwarded-client-cert",
    "client-cert",
    "client-cert-chain",
    "l5d-client-id",
  ];

  it.each(NAMES)("%s is known to the codec and out of reach for rules", (name) => {
    const octets = Buffer.from(name);
    expect(fieldKind(octets, 0, octets.length)).not.toBe(ORDINARY);
    expect(PROTECTED_FIELDS).toContain(name);
  });
});
