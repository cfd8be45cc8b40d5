import dns, { type Answer, type DecodedPacket, type OptAnswer } from "dns-packet";
import { answerQuestion, bareReply, type ImportedServices, type Rcode, type Reply } from "./zone.ts";

export type Transport = "udp" | "tcp";

const HEADER_OCTETS = 12;
/** What a datagram may carry without EDNS (RFC 1035 §4.2.1). */
const PLAIN_UDP_OCTETS = 512;
/** What passes everywhere without fragments: nothing larger goes into a datagram, whatever the other side says it takes. */
const MAX_UDP_OCTETS = 1_232;
const MAX_TCP_OCTETS = 65_535;

const RCODES: { readonly [name in Rcode]: number } = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  // Needs the upper bits that an OPT record has room for (RFC 6891 §6.1.3).
  BADVERS: 16,
};

/** The response to a message, which may be anything; `undefined`: none is due, as to what is a response itself. */
export function respond(
  message: Buffer,
  transport: Transport,
  services: ImportedServices,
): Buffer | undefined {
  if (message.length < HEADER_OCTETS) return undefined;
  // Answering a response would let two servers talk to each other forever.
  if (((message[2] ?? 0) & 0x80) !== 0) return undefined;
  const query = decoded(message);
  if (query === undefined) return headerOnly(message, RCODES.FORMERR);
  const opts = (query.additionals ?? []).filter((record) => record.type === "OPT");
  const reply = opts.length > 1 ? bareReply("FORMERR") : replyTo(query, opts[0], services);
  const limit = transport === "tcp" ? MAX_TCP_OCTETS : udpLimit(opts[0]);
  try {
    return encoded(query, reply, opts[0], limit);
  } catch {
    // A name that can be read but not written again, such as one with an empty label.
    return headerOnly(message, RCODES.FORMERR);
  }
}

function decoded(message: Buffer): DecodedPacket | undefined {
  try {
    return dns.decode(message);
  } catch {
    return undefined;
  }
}

function replyTo(query: DecodedPacket, opt: OptAnswer | undefined, services: ImportedServices): Reply {
  // Standard queries only; opcodes are bits 11 to 14 (RFC 1035 §4.1.1).
  if ((((query.flags ?? 0) >> 11) & 0xf) !== 0) return bareReply("NOTIMP");
  if (opt !== undefined && opt.ednsVersion !== 0) return bareReply("BADVERS");
  const [question, ...more] = query.questions ?? [];
  if (question === undefined || more.length > 0) return bareReply("FORMERR");
  return answerQuestion(question, services);
}

function udpLimit(opt: OptAnswer | undefined): number {
  if (opt === undefined) return PLAIN_UDP_OCTETS;
  return Math.min(Math.max(opt.udpPayloadSize, PLAIN_UDP_OCTETS), MAX_UDP_OCTETS);
}

/** Whole, or without its additional records, or as much as fits and marked as cut, so that the client asks again over TCP. */
function encoded(query: DecodedPacket, reply: Reply, opt: OptAnswer | undefined, limit: number): Buffer {
  const build = (answers: readonly Answer[], additionals: readonly Answer[], flags = 0): Buffer =>
    dns.encode({
      type: "response",
      id: query.id ?? 0,
      flags: flagsOf(query, reply) | flags,
      questions: [...(query.questions ?? [])],
      answers: [...answers],
      authorities: [...reply.authorities],
      additionals: [...additionals, ...(opt === undefined ? [] : [optOf(reply)])],
    });
  const whole = build(reply.answers, reply.additionals);
  if (whole.length <= limit) return whole;
  let { answers } = reply;
  let cut = build(answers, []);
  if (cut.length <= limit) return cut;
  while (cut.length > limit && answers.length > 0) {
    answers = answers.slice(0, answers.length >> 1);
    cut = build(answers, [], dns.TRUNCATED_RESPONSE);
  }
  return cut;
}

function flagsOf(query: DecodedPacket, reply: Reply): number {
  // Recursion is not available, and the wish for it is repeated (RFC 1035 §4.1.1).
  const opcodeAndRd = (query.flags ?? 0) & (0x7800 | dns.RECURSION_DESIRED);
  return opcodeAndRd | (reply.authoritative ? dns.AUTHORITATIVE_ANSWER : 0) | (RCODES[reply.rcode] & 0xf);
}

function optOf({ rcode }: Reply): OptAnswer {
  return {
    type: "OPT",
    name: ".",
    udpPayloadSize: MAX_UDP_OCTETS,
    extendedRcode: RCODES[rcode] >> 4,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  };
}

/** To what cannot be read: its number and opcode, and why not. */
function headerOnly(message: Buffer, rcode: number): Buffer {
  const header = Buffer.alloc(HEADER_OCTETS);
  message.copy(header, 0, 0, 2);
  header[2] = 0x80 | ((message[2] ?? 0) & 0x79);
  header[3] = rcode;
  return header;
}
