import dns, { type DecodedPacket, type Question } from "dns-packet";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { respond } from "./responder.ts";
import type { ImportedService, ImportedServices } from "./zone.ts";

const ENDPOINTS = Array.from({ length: 200 }, (_, at) => ({
  cluster: "east",
  address: `10.1.${at >> 8}.${at & 255}`,
  ports: [{ name: "pg", protocol: "TCP", port: 5432 }],
}));
const MANY: ImportedService = {
  headless: true,
  addresses: [],
  ports: [{ name: "pg", protocol: "TCP", port: 5432 }],
  endpoints: ENDPOINTS,
};
const SERVICES: ImportedServices = {
  known: true,
  find: (namespace, name) => (namespace === "shop" && name === "many" ? MANY : undefined),
  has: () => true,
};
const MANY_NAME = "many.shop.svc.clusterset.local";

const opt = (udpPayloadSize: number, ednsVersion = 0) => ({
  type: "OPT" as const,
  name: ".",
  udpPayloadSize,
  extendedRcode: 0,
  ednsVersion,
  flags: 0,
  flag_do: false,
  options: [],
});

interface Asked {
  readonly questions?: Question[];
  readonly flags?: number;
  readonly opts?: ReturnType<typeof opt>[];
  readonly over?: "udp" | "tcp";
}

function query({ questions = [{ name: MANY_NAME, type: "A" }], flags = 0, opts = [] }: Asked): Buffer {
  return dns.encode({ type: "query", id: 4711, flags, questions, additionals: opts });
}

const rcodeOf = (message: Buffer) => (message[3] ?? 0) & 0xf;

function ask(asked: Asked): { readonly packet: DecodedPacket; readonly message: Buffer } {
  const message = respond(query(asked), asked.over ?? "udp", SERVICES);
  if (message === undefined) throw new Error("no response");
  return { packet: dns.decode(message), message };
}

describe("what fits", () => {
  it("into 512 octets without EDNS, into 1,232 with it, whatever the client says it takes", () => {
    for (const [opts, limit] of [
      [[], 512],
      [[opt(100)], 512],
      [[opt(800)], 800],
      [[opt(65_535)], 1_232],
    ] as const) {
      const { packet, message } = ask({ opts: [...opts] });
      expect(message.length).toBeLessThanOrEqual(limit);
      expect(packet.flag_tc).toBe(true);
      expect(packet.answers?.length).toBeGreaterThan(0);
    }
  });

  it("is everything over TCP", () => {
    const { packet } = ask({ over: "tcp" });
    expect(packet).toMatchObject({ flag_tc: false, flag_aa: true, flag_ra: false });
    expect(packet.answers).toHaveLength(ENDPOINTS.length);
  });

  it("goes without its additional records before anything is cut", () => {
    const one = { ...SERVICES, find: () => ({ ...MANY, endpoints: ENDPOINTS.slice(0, 4) }) };
    const name = `_pg._tcp.${MANY_NAME}`;
    const message = respond(query({ questions: [{ name, type: "SRV" }] }), "udp", one);
    const packet = dns.decode(message ?? Buffer.alloc(0));
    expect([packet.answers?.length, packet.additionals?.length, packet.flag_tc]).toEqual([4, 0, false]);
  });
});

describe("a query", () => {
  it("gets its number, its question and its wish for recursion back", () => {
    const { packet } = ask({ flags: dns.RECURSION_DESIRED });
    expect(packet).toMatchObject({ id: 4711, type: "response", flag_rd: true, flag_ra: false });
    expect(packet.questions).toMatchObject([{ name: MANY_NAME, type: "A" }]);
  });

  it.each([
    ["with another opcode", { flags: 4 << 11 }, 4],
    ["without a question", { questions: [] }, 1],
    [
      "with two questions",
      {
        questions: [
          { name: MANY_NAME, type: "A" as const },
          { name: MANY_NAME, type: "AAAA" as const },
        ],
      },
      1,
    ],
    ["with two OPT records", { opts: [opt(512), opt(512)] }, 1],
  ])("%s is told so", (_what, asked, rcode) => {
    expect(rcodeOf(ask(asked).message)).toBe(rcode);
  });

  it("of a later EDNS version is told which one is spoken here", () => {
    const { packet } = ask({ opts: [opt(512, 1)] });
    // BADVERS is 16: its upper bits stand in the OPT record.
    expect(packet.additionals).toMatchObject([{ type: "OPT", ednsVersion: 0, extendedRcode: 1 }]);
    expect(packet.answers).toEqual([]);
  });
});

describe("what is no query", () => {
  it("gets nothing if it is a response, or shorter than a header", () => {
    const response = dns.encode({ type: "response", id: 1, questions: [{ name: MANY_NAME, type: "A" }] });
    expect(respond(response, "udp", SERVICES)).toBeUndefined();
    expect(respond(Buffer.alloc(11), "udp", SERVICES)).toBeUndefined();
  });

  it("never throws, and every response can be read, is one, and fits", () => {
    const good = query({ opts: [opt(1_232)] });
    const mutated = fc
      .tuple(fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 8 }), fc.nat(good.length))
      .map(([changes, length]) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of changes) bytes[at] = value;
        return bytes.subarray(0, length);
      });
    const anything = fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes));
    fc.assert(
      fc.property(fc.oneof(mutated, anything), (message) => {
        const response = respond(message, "udp", SERVICES);
        if (response === undefined) return;
        expect(response.readUInt16BE(0)).toBe(message.readUInt16BE(0));
        expect((response[2] ?? 0) & 0x80).toBe(0x80);
        expect(response.length).toBeLessThanOrEqual(1_232);
        dns.decode(response);
      }),
      { numRuns: 3_000 },
    );
  });
});
