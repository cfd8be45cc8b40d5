import { describe, expect, it } from "vitest";
import { formatHostPort, parseHostPort } from "./host-port.ts";

describe("parseHostPort", () => {
  it.each(["127.0.0.1:80", "[::1]:0", "gw-1.example:65535"])("reads %s and writes it back", (text) => {
    const parsed = parseHostPort(text);
    expect(parsed.ok && formatHostPort(parsed.value)).toBe(text);
  });

  it.each(["", "80", ":80", "host", "host:", "host:65536", "host:-1", "::1:80", "a b:80", "http://host:80"])(
    "refuses %j",
    (text) => {
      expect(parseHostPort(text).ok).toBe(false);
    },
  );
});
