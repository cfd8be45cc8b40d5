import type { Answer, Question } from "dns-packet";
import { describe, expect, it, test } from "vitest";
import { answerQuestion, hostnameOf, type ImportedService, type ImportedServices } from "./zone.ts";

const HTTP = { name: "http", protocol: "TCP", port: 80 };
const CART: ImportedService = {
  headless: false,
  addresses: ["10.96.0.7", "fd00:10:96::7"],
  ports: [HTTP, { name: "metrics", protocol: "TCP", port: 9090 }, { protocol: "UDP", port: 53 }],
  endpoints: [],
};
const DB: ImportedService = {
  headless: true,
  addresses: [],
  ports: [{ name: "pg", protocol: "TCP", port: 5432 }],
  endpoints: [
    { cluster: "east", address: "10.1.0.5", ports: [{ name: "pg", protocol: "TCP", port: 20_001 }] },
    { cluster: "east", address: "10.1.0.6", ports: [{ name: "pg", protocol: "TCP", port: 20_001 }] },
    { cluster: "north", address: "10.1.0.5", ports: [{ name: "pg", protocol: "TCP", port: 20_002 }] },
  ],
};
const SERVICES = new Map([
  ["shop/cart", CART],
  ["shop/db", DB],
]);

export function servicesOf(known = true): ImportedServices {
  return {
    known,
    find: (namespace, name) => SERVICES.get(`${namespace}/${name}`),
    has: (namespace) => namespace === "shop",
  };
}

const ask = (name: string, type: string, more: Partial<Question> = {}, known = true) =>
  answerQuestion({ name, type: type as Question["type"], ...more }, servicesOf(known));
const dataOf = (answers: readonly Answer[]) => answers.map((answer) => "data" in answer && answer.data);

describe("a service with an address of its own", () => {
  it("is found by address, by family", () => {
    expect(dataOf(ask("cart.shop.svc.clusterset.local", "A").answers)).toEqual(["10.96.0.7"]);
    expect(dataOf(ask("cart.shop.svc.clusterset.local", "AAAA").answers)).toEqual(["fd00:10:96::7"]);
  });

  it("is found in any spelling, and the answer keeps the question's", () => {
    const { answers } = ask("CaRt.Shop.svc.CLUSTERSET.local", "A");
    expect(answers).toMatchObject([{ name: "CaRt.Shop.svc.CLUSTERSET.local", data: "10.96.0.7", ttl: 5 }]);
  });

  it("tells its named ports by SRV, with the addresses of the target", () => {
    const { answers, additionals } = ask("_http._tcp.cart.shop.svc.clusterset.local", "SRV");
    expect(dataOf(answers)).toEqual([
      { priority: 0, weight: 100, port: 80, target: "cart.shop.svc.clusterset.local" },
    ]);
    expect(dataOf(additionals)).toEqual(["10.96.0.7", "fd00:10:96::7"]);
  });

  it("has no SRV for a port without a name, or of another protocol", () => {
    expect(ask("_http._udp.cart.shop.svc.clusterset.local", "SRV").rcode).toBe("NXDOMAIN");
    expect(ask("_undefined._udp.cart.shop.svc.clusterset.local", "SRV").rcode).toBe("NXDOMAIN");
    expect(ask("_nope._tcp.cart.shop.svc.clusterset.local", "SRV").rcode).toBe("NXDOMAIN");
  });

  it("has nothing by cluster", () => {
    expect(ask("east.cart.shop.svc.clusterset.local", "A").rcode).toBe("NXDOMAIN");
  });
});

describe("a headless service", () => {
  it("is all of its endpoints, each address once", () => {
    expect(dataOf(ask("db.shop.svc.clusterset.local", "A").answers)).toEqual(["10.1.0.5", "10.1.0.6"]);
  });

  it("names its endpoints by SRV, each with its own port, and each of them is found by that name", () => {
    const { answers } = ask("_pg._tcp.db.shop.svc.clusterset.local", "SRV");
    expect(dataOf(answers)).toEqual([
      { priority: 0, weight: 100, port: 20_001, target: "10-1-0-5.east.db.shop.svc.clusterset.local" },
      { priority: 0, weight: 100, port: 20_001, target: "10-1-0-6.east.db.shop.svc.clusterset.local" },
      { priority: 0, weight: 100, port: 20_002, target: "10-1-0-5.north.db.shop.svc.clusterset.local" },
    ]);
    expect(dataOf(ask("10-1-0-6.east.db.shop.svc.clusterset.local", "A").answers)).toEqual(["10.1.0.6"]);
    expect(ask("10-1-0-6.north.db.shop.svc.clusterset.local", "A").rcode).toBe("NXDOMAIN");
  });

  it("has no address by cluster alone, though there are names below", () => {
    expect(ask("east.db.shop.svc.clusterset.local", "A")).toMatchObject({ rcode: "NOERROR", answers: [] });
    expect(ask("south.db.shop.svc.clusterset.local", "A").rcode).toBe("NXDOMAIN");
  });
});

test.each([
  ["no such service", "nope.shop.svc.clusterset.local", "A", "NXDOMAIN"],
  ["no such namespace", "cart.bank.svc.clusterset.local", "A", "NXDOMAIN"],
  ["a namespace, above services", "shop.svc.clusterset.local", "A", "NOERROR"],
  ["an empty namespace", "bank.svc.clusterset.local", "A", "NXDOMAIN"],
  ["the zone of services", "svc.clusterset.local", "A", "NOERROR"],
  ["another type", "cart.shop.svc.clusterset.local", "MX", "NOERROR"],
  ["something else in the zone", "pod.clusterset.local", "A", "NXDOMAIN"],
])("%s is absent, and for how long stands beside it", (_what, name, type, rcode) => {
  const reply = ask(name, type);
  expect(reply).toMatchObject({ rcode, authoritative: true, answers: [] });
  expect(reply.authorities).toMatchObject([{ type: "SOA", name: "clusterset.local", data: { minimum: 5 } }]);
});

test.each([
  ["the cluster's own names", "cart.shop.svc.cluster.local", "A", {}],
  ["the internet's", "example.com", "A", {}],
  ["a name that only ends alike", "notclusterset.local", "A", {}],
  ["a zone transfer", "clusterset.local", "AXFR", {}],
  ["another class", "clusterset.local", "TXT", { class: "CH" }],
] as const)("%s is refused", (_what, name, type, more) => {
  expect(ask(name, type, more)).toMatchObject({ rcode: "REFUSED", authoritative: false });
});

test("the version of the schema stands at dns-version", () => {
  expect(ask("dns-version.clusterset.local", "TXT").answers).toMatchObject([{ ttl: 28_800, data: "1.0.0" }]);
});

test("before everything was listed once nothing is said to be absent", () => {
  expect(ask("cart.shop.svc.clusterset.local", "A", {}, false).rcode).toBe("SERVFAIL");
  expect(ask("nope.shop.svc.clusterset.local", "A", {}, false).rcode).toBe("SERVFAIL");
});

test.each([
  ["10.1.0.5", "10-1-0-5"],
  ["2001:DB8::1", "2001-db8--1"],
  ["::1", "0--1"],
  ["fd00::", "fd00--0"],
])("the address %s makes the label %s", (address, label) => {
  expect(hostnameOf(address)).toBe(label);
});
