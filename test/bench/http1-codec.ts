/**
 * Nanoseconds per HTTP/1.1 head and per chunk: `node test/bench/http1-codec.ts`. Every line is the best of several rounds,
 * since other work on the machine only ever adds.
 */
import { parseRequestHead } from "../../gateway/dataplane/http1/request-head.ts";

const WRK = "GET /items/42 HTTP/1.1\r\nHost: 127.0.0.1:18080\r\n\r\n";
const CURL = "GET /items/42 HTTP/1.1\r\nHost: cart.shop\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";
const KEPT =
  "GET /items/42 HTTP/1.1\r\nHost: cart.shop\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n";
const BROWSER = `GET /items/42?page=2 HTTP/1.1\r\nHost: cart.shop\r\nConnection: keep-alive\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en-GB,en;q=0.9\r\nCookie: session=${"a".repeat(120)}\r\n\r\n`;

const ROUNDS = 7;
const CALLS = 300_000;

function measure(name: string, bytes: number, once: () => unknown): void {
  let best = Number.POSITIVE_INFINITY;
  let sum = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const began = process.hrtime.bigint();
    for (let call = 0; call < CALLS; call++) sum += once() === undefined ? 0 : 1;
    best = Math.min(best, Number(process.hrtime.bigint() - began) / CALLS);
  }
  if (sum === 0) throw new Error(`${name} did nothing`);
  console.log(`${name.padEnd(34)} ${String(bytes).padStart(6)} bytes ${best.toFixed(0).padStart(6)} ns`);
}

for (const [name, text] of Object.entries({ WRK, CURL, KEPT, BROWSER })) {
  const buffer = Buffer.from(text, "latin1");
  measure(`request head ${name}`, buffer.length, () => parseRequestHead(buffer, 0, buffer.length));
}
