import { describe, expect, it } from "vitest";
import { parseProcessConfig } from "./config.ts";

const MINIMUM = {
  ISTHMUS_STATE_DIR: "/var/lib/isthmus",
  ISTHMUS_MEMBER: "gateway-1",
  ISTHMUS_LISTEN: "127.0.0.1:15008",
};

function parse(settings: Record<string, string>) {
  return parseProcessConfig((key) => settings[key], Object.keys(settings));
}

function complaints(settings: Record<string, string>): string[] {
  const result = parse(settings);
  return result.ok ? [] : result.error.map(({ path, message }) => `${path} ${message}`);
}

describe("parseProcessConfig", () => {
  it("fills in the defaults", () => {
    expect(parse(MINIMUM)).toEqual({
      ok: true,
      value: {
        config: {
          stateDir: "/var/lib/isthmus",
          member: "gateway-1",
          listen: { host: "127.0.0.1", port: 15008 },
          adminListen: { host: "127.0.0.1", port: 0 },
          logLevel: "info",
          svidTtlMs: 3_600_000,
          drainMs: 120_000,
          workers: 1,
          dnsServers: [],
          clusterCidrs: [],
        },
        warnings: [],
      },
    });
  });

  it("reports every mistake in one answer", () => {
    const found = complaints({
      ISTHMUS_MEMBER: "Gateway 1",
      ISTHMUS_LISTEN: "localhost",
      ISTHMUS_ADVERTISE: "gw.example:0",
      ISTHMUS_ADMIN_LISTEN: "127.0.0.1:70000",
      ISTHMUS_LOG_LEVEL: "loud",
      ISTHMUS_REGISTRY: "ftp://registry",
      ISTHMUS_SVID_TTL_SECONDS: "0",
      ISTHMUS_DRAIN_SECONDS: "1e3",
    });
    expect(found.map((line) => line.split(" ")[0])).toEqual([
      "ISTHMUS_STATE_DIR",
      "ISTHMUS_MEMBER",
      "ISTHMUS_LISTEN",
      "ISTHMUS_ADVERTISE",
      "ISTHMUS_ADMIN_LISTEN",
      "ISTHMUS_LOG_LEVEL",
      "ISTHMUS_REGISTRY",
      "ISTHMUS_SVID_TTL_SECONDS",
      "ISTHMUS_DRAIN_SECONDS",
    ]);
  });

  it("names each missing setting once", () => {
    expect(complaints({}).map((line) => line.split(" ")[0])).toEqual([
      "ISTHMUS_STATE_DIR",
      "ISTHMUS_MEMBER",
      "ISTHMUS_LISTEN",
    ]);
  });

  it("takes an empty value as not set", () => {
    expect(parse({ ...MINIMUM, ISTHMUS_REGISTRY: "", ISTHMUS_LOG_LEVEL: "" }).ok).toBe(true);
  });

  it("warns of settings it does not know, and of nothing else", () => {
    const result = parse({ ...MINIMUM, ISTHMUS_STATEDIR: "x", HOME: "/root" });
    expect(result.ok && result.value.warnings.map(({ path }) => path)).toEqual(["ISTHMUS_STATEDIR"]);
  });

  it("reads IPv6 addresses and a registry URL with a trailing slash", () => {
    const result = parse({
      ...MINIMUM,
      ISTHMUS_LISTEN: "[::1]:15008",
      ISTHMUS_ADVERTISE: "gw.east.example:443",
      ISTHMUS_REGISTRY: "https://registry.example/",
    });
    expect(result.ok && result.value.config).toMatchObject({
      listen: { host: "::1", port: 15008 },
      advertise: "gw.east.example:443",
      registry: "https://registry.example",
    });
  });
});

describe("listening on [::]", () => {
  it("is listening on 0.0.0.0 where the kernel has no IPv6, for every listener", () => {
    const keys = ["ISTHMUS_LISTEN", "ISTHMUS_ADMIN_LISTEN", "ISTHMUS_ISSUER_LISTEN", "ISTHMUS_DNS_LISTEN"];
    const settings: Record<string, string> = {
      ...MINIMUM,
      ...Object.fromEntries(keys.map((key) => [key, "[::]:1"])),
    };
    const hosts = (hasIpv6: boolean) => {
      const parsed = parseProcessConfig((key) => settings[key], keys, hasIpv6);
      if (!parsed.ok) throw new Error("it parses");
      const { listen, adminListen, issuerListen, dnsListen } = parsed.value.config;
      return [listen, adminListen, issuerListen, dnsListen].map((address) => address?.host);
    };
    expect(hosts(true)).toEqual(Array(4).fill("::"));
    expect(hosts(false)).toEqual(Array(4).fill("0.0.0.0"));
  });
});

describe("ISTHMUS_ACCESS_LOG", () => {
  const accessLogOf = (value: string) =>
    parseProcessConfig((key) => ({ ...REQUIRED, ISTHMUS_ACCESS_LOG: value })[key]);
  const REQUIRED: Record<string, string> = {
    ISTHMUS_STATE_DIR: "/s",
    ISTHMUS_MEMBER: "gateway-1",
    ISTHMUS_LISTEN: "127.0.0.1:0",
  };

  it.each([
    ["off", undefined],
    ["", undefined],
    ["errors", { share: 0 }],
    ["all", { share: 1 }],
    ["1%", { share: 0.01 }],
    ["0.5%", { share: 0.005 }],
    ["100%", { share: 1 }],
  ])("%j is %j", (value, expected) => {
    const parsed = accessLogOf(value);
    expect(parsed.ok && parsed.value.config.accessLog).toEqual(expected);
  });

  it.each(["some", "101%", "-1%", "0.1"])("refuses %j", (value) => {
    expect(accessLogOf(value)).toMatchObject({ ok: false, error: [{ path: "ISTHMUS_ACCESS_LOG" }] });
  });
});

describe("ISTHMUS_CA_ISSUER", () => {
  const REQUIRED = { ISTHMUS_STATE_DIR: "/s", ISTHMUS_MEMBER: "gateway-1", ISTHMUS_LISTEN: "127.0.0.1:0" };
  const issuerOf = (value: string) =>
    parseProcessConfig((key) => ({ ...REQUIRED, ISTHMUS_CA_ISSUER: value })[key]);

  it.each([
    ["", undefined],
    ["Issuer/isthmus-ca", { kind: "Issuer", group: "cert-manager.io", name: "isthmus-ca" }],
    [
      "StepIssuer.certmanager.step.sm/west",
      { kind: "StepIssuer", group: "certmanager.step.sm", name: "west" },
    ],
  ])("%j is %j", (value, expected) => {
    const parsed = issuerOf(value);
    expect(parsed.ok && parsed.value.config.caIssuer).toEqual(expected);
  });

  it.each(["isthmus-ca", "issuer/isthmus-ca", "Issuer/", "/x", "Issuer/A", "Issuer./x", "Issuer/x/y"])(
    "refuses %j",
    (value) => {
      expect(issuerOf(value)).toMatchObject({ ok: false, error: [{ path: "ISTHMUS_CA_ISSUER" }] });
    },
  );
});
