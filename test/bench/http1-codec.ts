/**
 * Nanoseconds of CPU time per HTTP/1.1 head and per chunk: `node test/bench/http1-codec.ts`. Every line is the best of
 * several rounds, since other work on the machine only ever adds.
 */
import { ChunkedDecoder, parseRequestHead, parseResponseHead } from "../../gateway/dataplane/http1/index.ts";
import { bestNs } from "./cpu-time.ts";

const REQUESTS = {
  "wrk's request": ["GET /items/42 HTTP/1.1", "Host: 127.0.0.1:18080"],
  "curl's request": ["GET /items/42 HTTP/1.1", "Host: cart.shop", "User-Agent: curl/8.5.0", "Accept: */*"],
  "with Connection: keep-alive": [
    "GET /items/42 HTTP/1.1",
    "Host: cart.shop",
    "User-Agent: node",
    "Accept: */*",
    "Connection: keep-alive",
  ],
  "with a body": [
    "POST /items HTTP/1.1",
    "Host: cart.shop",
    "Content-Type: text/plain",
    "Content-Length: 17",
  ],
  "a browser's request": [
    "GET /items/42?page=2 HTTP/1.1",
    "Host: cart.shop",
    "Connection: keep-alive",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Encoding: gzip, deflate, br",
    "Accept-Language: en-GB,en;q=0.9",
    `Cookie: session=${"a".repeat(120)}`,
  ],
} as const;

const RESPONSES = {
  "nginx's response": [
    "HTTP/1.1 200 OK",
    "Server: nginx",
    "Date: Mon, 23 Nov 2026 06:00:00 GMT",
    "Content-Type: text/plain",
    "Content-Length: 100",
    "Connection: keep-alive",
  ],
  "node's response": [
    "HTTP/1.1 200 OK",
    "Date: Mon, 23 Nov 2026 06:00:00 GMT",
    "Connection: keep-alive",
    "Keep-Alive: timeout=5",
    "Content-Length: 100",
  ],
} as const;

const ROUNDS = 10;
const CALLS = 200_000;

function measure(name: string, bytes: number, once: () => boolean): void {
  const best = bestNs(ROUNDS, CALLS, (calls) => {
    let done = 0;
    for (let call = 0; call < calls; call++) if (once()) done++;
    return done;
  });
  console.log(`${name.padEnd(32)} ${String(bytes).padStart(6)} bytes ${best.toFixed(0).padStart(6)} ns`);
}

function head(lines: readonly string[]): Buffer {
  return Buffer.from([...lines, "", ""].join("\r\n"), "latin1");
}

for (const [name, lines] of Object.entries(REQUESTS)) {
  const buffer = head(lines);
  measure(name, buffer.length, () => parseRequestHead(buffer, 0, buffer.length).kind === "head");
}

const GET = { method: "GET" };
for (const [name, lines] of Object.entries(RESPONSES)) {
  const buffer = head(lines);
  measure(name, buffer.length, () => parseResponseHead(buffer, 0, buffer.length, GET).kind === "head");
}

const nowhere = { data(): void {} };
const chunk = `40\r\n${"z".repeat(64)}\r\n`;
for (const output of ["payload", "chunked"] as const) {
  const body = Buffer.from(`${chunk.repeat(100)}0\r\n\r\n`, "latin1");
  measure(`100 chunks of 64 bytes, ${output}`, body.length, () => {
    const decoder = new ChunkedDecoder(output);
    decoder.feed(body, 0, body.length, nowhere);
    return decoder.status === "done";
  });
}
