import { createSocket, type Socket } from "node:dgram";

/** A DNS server over UDP (RFC 1035) whose answers a test may change between two queries. */
export interface DnsServer {
  /** `127.0.0.1:5353`, as `dns.setServers` takes it. */
  readonly address: string;
  /** `A` or `AAAA` and the name of every query so far. */
  readonly queries: readonly string[];
  /** Each query of a name takes the next list; the last one stays. */
  answer(name: string, ...lists: readonly (readonly string[])[]): void;
  /** Answers nothing at all, or with SERVFAIL. */
  fail(how: "silent" | "servfail" | undefined): void;
  stop(): Promise<void>;
}

const A = 1;
const AAAA = 28;

export async function startDnsServer(ttlSeconds = 1): Promise<DnsServer> {
  const socket = createSocket("udp4");
  const answers = new Map<string, (readonly string[])[]>();
  const queries: string[] = [];
  let failing: "silent" | "servfail" | undefined;
  socket.on("message", (query, from) => {
    const { name, type, end } = readQuestion(query);
    queries.push(`${type === AAAA ? "AAAA" : "A"} ${name}`);
    if (failing === "silent") return;
    const lists = answers.get(name);
    const list = lists === undefined ? undefined : lists[0];
    if (lists !== undefined && lists.length > 1 && type === A) lists.shift();
    const records = (list ?? []).filter((address) => address.includes(":") === (type === AAAA));
    const code = failing === "servfail" ? 2 : list === undefined ? 3 : 0;
    socket.send(
      reply(query.subarray(0, end), code, code === 0 ? records : [], type, ttlSeconds),
      from.port,
      from.address,
    );
  });
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  return {
    address: `127.0.0.1:${socket.address().port}`,
    queries,
    answer: (name, ...lists) => void answers.set(name, [...lists]),
    fail: (how) => {
      failing = how;
    },
    stop: () => close(socket),
  };
}

function close(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.close(() => resolve()));
}

function readQuestion(query: Buffer): { readonly name: string; readonly type: number; readonly end: number } {
  const labels: string[] = [];
  let at = 12;
  while ((query[at] ?? 0) > 0) {
    const length = query[at] ?? 0;
    labels.push(query.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join(".").toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
}

function reply(
  question: Buffer,
  code: number,
  addresses: readonly string[],
  type: number,
  ttl: number,
): Buffer {
  const head = Buffer.from(question);
  head.writeUInt16BE(0x8180 | code, 2);
  head.writeUInt16BE(addresses.length, 6);
  head.writeUInt16BE(0, 8);
  head.writeUInt16BE(0, 10);
  const records = addresses.map((address) => {
    const data = type === A ? Buffer.from(address.split(".").map(Number)) : ipv6Bytes(address);
    const record = Buffer.alloc(12);
    record.writeUInt16BE(0xc00c, 0);
    record.writeUInt16BE(type, 2);
    record.writeUInt16BE(1, 4);
    record.writeUInt32BE(ttl, 6);
    record.writeUInt16BE(data.length, 10);
    return Buffer.concat([record, data]);
  });
  return Buffer.concat([head, ...records]);
}

function ipv6Bytes(address: string): Buffer {
  const [head = "", tail] = address.split("::");
  const groups = (text: string) =>
    text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
  const [left, right] = [groups(head), groups(tail ?? "")];
  const all = [...left, ...Array.from({ length: 8 - left.length - right.length }, () => 0), ...right];
  const bytes = Buffer.alloc(16);
  all.forEach((group, index) => bytes.writeUInt16BE(group, index * 2));
  return bytes;
}
