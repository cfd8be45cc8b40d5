import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  cidrHas,
  formatCidr,
  formatIp,
  ipv4,
  ipv6,
  maskOf,
  parseCidr,
  parseIp,
  parseLooseIpv4,
} from "./ip-address.ts";

const V4 = fc.bigInt({ min: 0n, max: 0xffff_ffffn }).map(ipv4);
const V6 = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }).map(ipv6);
const ANY = fc.oneof(V4, V6);

describe("an IP address", () => {
  it("is read back from its canonical text", () => {
    fc.assert(
      fc.property(ANY, (address) => {
        expect(parseIp(formatIp(address))).toEqual(address);
      }),
    );
  });

  it("is the same in every notation of IPv4", () => {
    const part = (value: bigint, radix: number) =>
      radix === 16 ? `0x${value.toString(16)}` : radix === 8 ? `0${value.toString(8)}` : value.toString();
    const radix = fc.constantFrom(8, 10, 16);
    fc.assert(
      fc.property(
        V4,
        fc.integer({ min: 1, max: 4 }),
        fc.array(radix, { minLength: 4, maxLength: 4 }),
        (address, count, radixes) => {
          const parts: string[] = [];
          for (let index = 0; index < count - 1; index++)
            parts.push(part((address.value >> BigInt(8 * (3 - index))) & 255n, radixes[index] ?? 10));
          parts.push(part(address.value & ((1n << BigInt(8 * (5 - count))) - 1n), radixes[3] ?? 10));
          expect(parseLooseIpv4(parts.join("."))).toEqual(address);
        },
      ),
    );
  });

  it("agrees with the WHATWG URL parser about what is an IPv4 address", () => {
    const text = fc
      .array(
        fc.oneof(
          fc.integer({ min: 0, max: 300 }).map(String),
          fc.constantFrom("0x7f", "017", "0", "4294967295", "0xff", "08", "256", "0x"),
        ),
        { minLength: 1, maxLength: 4 },
      )
      .map((parts) => parts.join("."));
    fc.assert(
      fc.property(text, (host) => {
        const url = URL.parse(`http://${host}/`);
        const mine = parseLooseIpv4(host);
        expect(mine === undefined ? undefined : formatIp(mine)).toBe(url?.hostname);
      }),
      { numRuns: 500 },
    );
  });

  it("agrees with the WHATWG URL parser about IPv6", () => {
    fc.assert(
      fc.property(V6, (address) => {
        const text = formatIp(address);
        if (address.family === 6) expect(new URL(`http://[${text}]/`).hostname).toBe(`[${text}]`);
      }),
    );
  });

  it.each([
    ["::ffff:127.0.0.1", "127.0.0.1"],
    ["::FFFF:7f00:1", "127.0.0.1"],
    ["0:0:0:0:0:ffff:a9fe:a9fe", "169.254.169.254"],
    ["FE80::0001", "fe80::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["::", "::"],
    ["64:ff9b::7f00:1", "64:ff9b::7f00:1"],
  ])("reads %s as %s", (text, canonical) => {
    const parsed = parseIp(text);
    expect(parsed === undefined ? undefined : formatIp(parsed)).toBe(canonical);
  });

  it.each([
    "",
    "1.2.3",
    "1.2.3.4.5",
    "01.2.3.4",
    "256.1.1.1",
    "1::2::3",
    "fe80::1%eth0",
    ":::",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "::1.2.3.4.5",
    "1.2.3.4::",
    "g::",
    "12345::",
  ])("does not read %s", (text) => expect(parseIp(text)).toBeUndefined());
});

describe("a CIDR", () => {
  it("holds exactly the addresses that share its prefix", () => {
    fc.assert(
      fc.property(ANY, ANY, fc.nat(128), (base, other, bits) => {
        const prefix = Math.min(bits, base.family === 4 ? 32 : 128);
        const cidr = { base: maskOf(base, prefix), prefix };
        expect(cidrHas(cidr, base)).toBe(true);
        const same = other.family === base.family && maskOf(other, prefix).value === cidr.base.value;
        expect(cidrHas(cidr, other)).toBe(same);
        expect(parseCidr(formatCidr(cidr))).toEqual({ ok: true, value: cidr });
      }),
    );
  });

  it.each(["10.1.2.3/8", "10.0.0.0/33", "::ffff:10.0.0.0/104", "ten/8", "10.0.0.0/8/8", "10.0.0.0/-1", ""])(
    "%s is refused",
    (text) => expect(parseCidr(text).ok).toBe(false),
  );
});
