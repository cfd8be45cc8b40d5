/** Random HTTP/1.1 messages: mostly well-formed, then damaged in the ways that smuggling attempts are made of. */
import { FRAMING_ATTACKS } from "./attacks.ts";
import type { Random } from "./random.ts";

const METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "QUERY", "PROPFIND"] as const;
const NAME = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!#$%&'*+^`|~";
const VALUE = 'abcXYZ0123456789 \t,;="/()<>@[]{}?:\\\u00e9\u00ff\u0080';
const TARGET = "abcXYZ019/?&=.%20-_~!$'()*+,;:@|{}\"";

const CONNECTIONS = [
  "close",
  "keep-alive",
  "Keep-Alive, TE",
  "X-Hop, close",
  "x-one,,x-two",
  "upgrade",
] as const;

const ORDINARY: readonly [(random: Random) => string, ...((random: Random) => string)[]] = [
  (random) => `${random.text(NAME, 1, 20)}: ${random.text(VALUE, 0, 40)}`,
  (random) => `${random.text(NAME, 1, 8)}:${random.text(VALUE, 0, 5)}`,
  () => "Accept: */*",
  () => "User-Agent: wrk",
  (random) => `Connection: ${random.pick(CONNECTIONS)}`,
  () => "X-Hop: 1",
  () => "Keep-Alive: timeout=5",
  () => "TE: trailers",
  () => "X-Forwarded-Client-Cert: By=spiffe://a",
  () => "isthmus-caller: forged",
  () => "X_Forwarded_Client_Cert: forged",
  () => "__proto__: 1",
  () => "Via: 1.1 other",
  () => "Upgrade: websocket",
];

const FRAMINGS = [
  "",
  "",
  "Content-Length: 0\r\n",
  "Content-Length: 5\r\n",
  "content-length:  0012 \r\n",
  "Transfer-Encoding: chunked\r\n",
  "transfer-encoding:Chunked\r\n",
] as const;

const DAMAGE = [
  "\r",
  "\n",
  "\r\n",
  "\u0000",
  " ",
  "\t",
  ":",
  ",",
  "_",
  "\u000b",
  "\u007f",
  "\u00ff",
  "0",
  "A",
] as const;

export function renderRequest(random: Random): string {
  const method = random.pick(METHODS);
  const target = method === "OPTIONS" && random.chance(2) ? "*" : `/${random.text(TARGET, 0, 30)}`;
  const start = `${method} ${target} HTTP/1.${random.chance(8) ? 0 : 1}\r\n`;
  const host = random.chance(20)
    ? ""
    : `Host: ${random.pick(["cart.shop", "CART.shop:80", "127.0.0.1:1", "[::1]:80"])}\r\n`;
  return damage(random, start + host + renderFields(random) + "\r\n");
}

export function renderResponse(random: Random): string {
  const status = random.pick([100, 101, 103, 200, 200, 201, 204, 206, 301, 304, 404, 500, 599]);
  const reason = random.pick([" OK", " ", "", " Not Modified", " caf\u00e9"]);
  const start = `HTTP/1.${random.chance(8) ? 0 : 1} ${status}${reason}\r\n`;
  return damage(random, start + renderFields(random) + "\r\n");
}

function renderFields(random: Random): string {
  const lines: string[] = [];
  for (let count = random.below(6); count > 0; count--) lines.push(`${random.pick(ORDINARY)(random)}\r\n`);
  const framing = random.chance(4) ? random.pick(FRAMING_ATTACKS) : random.pick(FRAMINGS);
  lines.splice(random.below(lines.length + 1), 0, framing);
  return lines.join("");
}

export function renderChunkedBody(random: Random): string {
  let body = "";
  for (let count = random.below(4); count > 0; count--) {
    const content = random.text(VALUE, 1, 40);
    body += `${renderSize(random, content.length)}${renderExtension(random)}\r\n${content}\r\n`;
  }
  const trailers = random.chance(3) ? `${random.pick(ORDINARY)(random)}\r\n` : "";
  return damage(
    random,
    `${"0".repeat(1 + random.below(2))}${renderExtension(random)}\r\n${trailers}\r\n`,
    body,
  );
}

function renderSize(random: Random, size: number): string {
  const digits = size.toString(16);
  const cased = random.chance(3) ? digits.toUpperCase() : digits;
  return random.chance(6) ? cased.padStart(random.below(18), "0") : cased;
}

const EXTENSIONS = [
  "",
  "",
  "",
  ";a",
  ";a=b",
  ';a="b c"',
  ';a="\\""',
  ";a;b=1",
  ";",
  " ;a",
  ";a =b",
  ";a=",
  ';a="',
  ";\u00e9",
] as const;

function renderExtension(random: Random): string {
  return random.pick(EXTENSIONS);
}

/** Half of the messages stay whole; the others get one to three wounds. */
function damage(random: Random, tail: string, head = ""): string {
  let text = head + tail;
  if (random.chance(2)) return text;
  for (let wounds = 1 + random.below(3); wounds > 0; wounds--) {
    const at = random.below(text.length);
    const removed = random.chance(2) ? 1 : 0;
    const added = random.chance(4)
      ? String.fromCharCode(random.below(256))
      : random.pick([...DAMAGE, "", ""]);
    text = text.slice(0, at) + added + text.slice(at + removed);
  }
  return text;
}
