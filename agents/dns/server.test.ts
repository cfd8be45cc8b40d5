import { execFile, spawnSync } from "node:child_process";
import { Resolver } from "node:dns/promises";
import { once } from "node:events";
import { connect } from "node:net";
import { promisify } from "node:util";
import dns from "dns-packet";
import { afterEach, describe, expect, it } from "vitest";
import { formatAddress } from "../../federation/model/address.ts";
import { createMemoryLog } from "../../test/fakes/memory-log.ts";
import { type DnsServer, openDnsServer } from "./server.ts";
import type { ImportedServices } from "./zone.ts";

const run = promisify(execFile);
const HAS_DIG = spawnSync("dig", ["-v"]).error === undefined;

const endpoints = Array.from({ length: 150 }, (_, at) => ({
  cluster: "east",
  address: `10.1.0.${at}`,
  ports: [{ name: "pg", protocol: "TCP", port: 5432 }],
}));
const PG = { name: "pg", protocol: "TCP", port: 5432 };
const SERVICES: ImportedServices = {
  known: true,
  has: () => true,
  find(namespace, name) {
    if (namespace !== "shop") return undefined;
    if (name === "cart")
      return { headless: false, addresses: ["10.96.0.7", "fd00::7"], ports: [PG], endpoints: [] };
    return name === "db" ? { headless: true, addresses: [], ports: [PG], endpoints } : undefined;
  },
};

let server: DnsServer | undefined;
afterEach(() => server?.close());

async function open(host = "127.0.0.1"): Promise<DnsServer> {
  server = await openDnsServer({ host, port: 0 }, SERVICES, createMemoryLog());
  return server;
}

describe("Node's own resolver", () => {
  it.each(["127.0.0.1", "::1"])("finds addresses, ports and endpoints at %s", async (host) => {
    const { address } = await open(host);
    const resolver = new Resolver();
    resolver.setServers([formatAddress(address)]);
    expect(await resolver.resolve4("cart.shop.svc.clusterset.local")).toEqual(["10.96.0.7"]);
    expect(await resolver.resolve6("cart.shop.svc.clusterset.local")).toEqual(["fd00::7"]);
    expect(await resolver.resolveSrv("_pg._tcp.cart.shop.svc.clusterset.local")).toMatchObject([
      { name: "cart.shop.svc.clusterset.local", port: 5432 },
    ]);
    expect(await resolver.resolveTxt("dns-version.clusterset.local")).toEqual([["1.0.0"]]);
    // More than a datagram holds: it comes again by TCP.
    expect(await resolver.resolve4("db.shop.svc.clusterset.local")).toHaveLength(150);
    await expect(resolver.resolve4("nope.shop.svc.clusterset.local")).rejects.toMatchObject({
      code: "ENOTFOUND",
    });
    await expect(resolver.resolve4("example.com")).rejects.toMatchObject({ code: "EREFUSED" });
  });
});

describe.skipIf(!HAS_DIG)("dig (where it is installed)", () => {
  const dig = async ({ address: { port } }: DnsServer, ...args: readonly string[]): Promise<string> =>
    (await run("dig", ["@127.0.0.1", "-p", `${port}`, "+tries=1", "+timeout=2", "+norecurse", ...args]))
      .stdout;

  it("has no complaint, by UDP, by TCP, with and without EDNS", async () => {
    const opened = await open();
    for (const how of ["+notcp", "+tcp", "+noedns", "+dnssec", "+cookie"]) {
      const text = await dig(opened, how, "cart.shop.svc.clusterset.local");
      expect(text).toMatch(/status: NOERROR/);
      expect(text).toMatch(/flags: qr aa;/);
      expect(text).toContain("10.96.0.7");
      // Of all warnings it may only say that `.local` is Multicast DNS's.
      expect(text.replace(/.*WARNING: \.local.*/, "")).not.toMatch(/warning|malformed|mismatch/i);
    }
    expect(await dig(opened, "+edns=1", "+noednsneg", "cart.shop.svc.clusterset.local")).toMatch(/BADVERS/);
    expect(await dig(opened, "db.shop.svc.clusterset.local", "+short")).toMatch(/^10\.1\.0\.0$/m);
    expect(await dig(opened, "nope.shop.svc.clusterset.local")).toMatch(
      /NXDOMAIN[\s\S]*clusterset\.local\.\s+5\s+IN\s+SOA/,
    );
    expect(await dig(opened, "AXFR", "clusterset.local")).toMatch(/Transfer failed|REFUSED/);
  });
});

describe("a connection", () => {
  it("takes several queries, in pieces, and answers each", async () => {
    const { address } = await open();
    const query = dns.streamEncode({
      type: "query",
      id: 7,
      questions: [{ name: "cart.shop.svc.clusterset.local", type: "A" }],
    });
    const bytes = Buffer.concat([query, query, query]);
    const socket = connect(address.port, address.host);
    let received = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
    });
    for (const at of [0, 1, 5, 40])
      socket.write(bytes.subarray(at, { 0: 1, 1: 5, 5: 40, 40: undefined }[at]));
    const one = 2 + (dns.streamDecode(query), 0);
    await expect.poll(() => received.length).toBeGreaterThan(one);
    await expect.poll(() => received.length / (2 + received.readUInt16BE(0))).toBe(3);
    socket.destroy();
  });

  it("ends when what comes is no query", async () => {
    const { address } = await open();
    const socket = connect(address.port, address.host);
    socket.write(Buffer.from([0, 3, 1, 2, 3]));
    await once(socket, "close");
  });
});
