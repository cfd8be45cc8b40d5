import { describe, expect, it } from "vitest";
import { formatIp } from "../../../../federation/model/ip-address.ts";
import { CachingResolver, type Lookup, type ResolverOptions } from "./name-resolver.ts";

type Answer = readonly string[] | string;

/** A resolver over scripted answers: a list of addresses, or the code of an error. */
function scripted(four: () => Answer, six: () => Answer = () => "ENODATA", ttl = 10, maxNames?: number) {
  let now = 0;
  let queries = 0;
  const lookup =
    (answer: () => Answer): Lookup =>
    (_name, done) => {
      queries += 1;
      const given = answer();
      if (typeof given === "string") done(given, []);
      else
        done(
          undefined,
          given.map((address) => ({ address, ttl })),
        );
    };
  const options: ResolverOptions = { lookup4: lookup(four), lookup6: lookup(six), now: () => now };
  const resolver = new CachingResolver(maxNames === undefined ? options : { ...options, maxNames });
  return {
    skip: (ms: number) => (now += ms),
    queries: () => queries,
    ask(name = "api.example.com"): string {
      let heard = "nothing";
      resolver.resolve(name, (result) => {
        heard = result.ok ? result.value.map(formatIp).join(" ") : result.error.name;
      });
      return heard;
    },
  };
}

describe("the resolver", () => {
  it("answers both families, IPv6 first and then in turn", () => {
    expect(
      scripted(
        () => ["192.0.2.1", "192.0.2.2"],
        () => ["2001:db8::1"],
      ).ask(),
    ).toBe("2001:db8::1 192.0.2.1 192.0.2.2");
  });

  it("asks again when the answer's life is over, and not before", () => {
    const dns = scripted(() => ["192.0.2.1"]);
    dns.ask();
    dns.skip(9_999);
    dns.ask();
    expect(dns.queries()).toBe(2);
    dns.skip(1);
    dns.ask();
    expect(dns.queries()).toBe(4);
  });

  it("believes no life below a second or above five minutes", () => {
    const short = scripted(() => ["192.0.2.1"], undefined, 0);
    short.ask();
    short.skip(999);
    short.ask();
    expect(short.queries()).toBe(2);
    const long = scripted(() => ["192.0.2.1"], undefined, 1_000_000);
    long.ask();
    long.skip(300_000);
    long.ask();
    expect(long.queries()).toBe(4);
  });

  it("keeps a good answer while the servers are silent, but not when they say that the name is gone", () => {
    let answer: Answer = ["192.0.2.1"];
    const dns = scripted(() => answer);
    dns.ask();
    dns.skip(20_000);
    answer = "ETIMEOUT";
    expect(dns.ask()).toBe("192.0.2.1");
    dns.skip(2_000);
    answer = "ENOTFOUND";
    expect(dns.ask()).toBe("external_unresolved");
  });

  it("forgets a good answer five minutes after its life", () => {
    let answer: Answer = ["192.0.2.1"];
    const dns = scripted(() => answer);
    dns.ask();
    answer = "ESERVFAIL";
    dns.skip(10_000 + 300_000);
    expect(dns.ask()).toBe("external_unresolved");
  });

  it("remembers a refusal for a second", () => {
    const dns = scripted(() => "ENOTFOUND");
    expect(dns.ask()).toBe("external_unresolved");
    dns.ask();
    expect(dns.queries()).toBe(2);
    dns.skip(1_000);
    dns.ask();
    expect(dns.queries()).toBe(4);
  });

  it("knows at most so many names", () => {
    const dns = scripted(() => ["192.0.2.1"], undefined, 10, 10);
    for (let index = 0; index < 100; index++) dns.ask(`h${index}.example.com`);
    dns.ask("h99.example.com");
    expect(dns.queries()).toBe(200);
    dns.ask("h0.example.com");
    expect(dns.queries()).toBe(202);
  });

  it("cuts an answer with too many addresses", () => {
    const many = Array.from({ length: 100 }, (_, index) => `192.0.2.${index}`);
    expect(
      scripted(() => many)
        .ask()
        .split(" "),
    ).toHaveLength(16);
  });
});
