import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addresses } from "./fields.ts";

describe("addresses", () => {
  it("are the same whatever their spelling", () => {
    const groups = fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(groups, (parts) => {
        const plain = parts.map((part) => part.toString(16)).join(":");
        const padded = parts.map((part) => part.toString(16).toUpperCase().padStart(4, "0")).join(":");
        expect(addresses([padded])).toEqual(addresses([plain]));
        expect(addresses([plain, padded])).toHaveLength(1);
      }),
    );
  });

  it("are spelled as sockets tell them", () => {
    expect(addresses(["10.0.0.1", "FD00:0::1", "fd00:244::0:10"])).toEqual([
      "10.0.0.1",
      "fd00::1",
      "fd00:244::10",
    ]);
  });

  it("mapped into IPv6 are IPv4 ones", () => {
    expect(addresses(["::ffff:10.0.0.1", "::ffff:a00:1", "10.0.0.1"])).toEqual(["10.0.0.1"]);
  });

  it("are nothing else: no names, no zones, nothing for a firewall's script to trip over", () => {
    expect(addresses(["None", "", "fe80::1%eth0", "010.0.0.1", "10.0.0.1 }", "fd00::/8", "::1::"])).toEqual(
      [],
    );
  });
});
