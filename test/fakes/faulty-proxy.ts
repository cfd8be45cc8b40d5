import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";

/** How what stands between members and their registry misbehaves. */
export type Fault =
  | "none"
  /** Holds every answer for a while. */
  | "slow"
  /** 429 with `Retry-After`, as the registry itself says it. */
  | "throttled"
  /** Ends the connection in the middle of the answer's body. */
  | "cut"
  /** A whole gzip member's first half, under a length that fits. */
  | "half-packed"
  /** Says gzip and is none. */
  | "garbled"
  /** A page of somebody else, with 200. */
  | "foreign"
  /** 500 without a word. */
  | "failing";

export interface FaultyProxy {
  readonly url: string;
  fault: Fault;
  /** Only what this says yes to is spoiled. */
  spoils: (request: { readonly method: string; readonly path: string }) => boolean;
  /** When each spoiled request came, `performance.now()`. */
  readonly spoiled: readonly number[];
  stop(): Promise<void>;
}

export const SLOW_MS = 2_000;
export const RETRY_AFTER_S = 2;

/** In front of a real registry: an HTTP proxy that can be told to spoil answers on their way. */
export async function startFaultyProxy(target: () => string): Promise<FaultyProxy> {
  const spoiled: number[] = [];
  const agent = new http.Agent({ keepAlive: true });
  const server = http.createServer((request, response) => {
    const { method = "GET", url = "/" } = request;
    response.on("error", () => {});
    const { fault } = proxy;
    const spoils = fault !== "none" && proxy.spoils({ method, path: url });
    if (spoils) spoiled.push(performance.now());
    if (spoils && answerAlone(fault, response)) return void request.resume();
    const { host: _host, ...headers } = request.headers;
    const upstream = http.request(`${target()}${url}`, { method, headers, agent }, (answer) => {
      if (spoils) spoil(fault, answer, response);
      else answer.pipe(response.writeHead(answer.statusCode ?? 502, answer.headers));
    });
    upstream.on("error", () => response.destroy());
    response.on("close", () => upstream.destroy());
    request.pipe(upstream);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const proxy: FaultyProxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    fault: "none",
    spoils: () => true,
    spoiled,
    async stop() {
      agent.destroy();
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return proxy;
}

function answerAlone(fault: Fault, response: http.ServerResponse): boolean {
  switch (fault) {
    case "throttled": {
      const code = "ISTH-5012";
      const body = {
        type: `urn:isthmus:problem:${code}`,
        title: "",
        status: 429,
        detail: "asks too often",
        code,
      };
      const headers = { "content-type": "application/problem+json", "retry-after": String(RETRY_AFTER_S) };
      response.writeHead(429, headers).end(JSON.stringify(body));
      return true;
    }
    case "garbled":
      response
        .writeHead(200, { "content-type": "application/jose", "content-encoding": "gzip" })
        .end(Buffer.alloc(5_000, 0x5a));
      return true;
    case "foreign":
      response.writeHead(200, { "content-type": "text/html" }).end("<html>Sign in to this network</html>");
      return true;
    case "failing":
      response.writeHead(500).end();
      return true;
    case "none":
    case "slow":
    case "cut":
    case "half-packed":
      return false;
  }
}

function spoil(fault: Fault, answer: http.IncomingMessage, response: http.ServerResponse): void {
  const chunks: Buffer[] = [];
  answer.on("data", (chunk: Buffer) => void chunks.push(chunk));
  answer.on("end", () => {
    const { "content-length": _length, "transfer-encoding": _encoding, ...headers } = answer.headers;
    const body = Buffer.concat(chunks);
    const status = answer.statusCode ?? 502;
    const half = body.subarray(0, Math.ceil(body.length / 2));
    switch (fault) {
      case "slow":
        setTimeout(() => response.writeHead(status, answer.headers).end(body), SLOW_MS).unref();
        return;
      case "cut":
        response.writeHead(status, { ...headers, "content-length": body.length + 1 });
        response.write(half, () => setTimeout(() => response.destroy(), 20).unref());
        return;
      case "half-packed": {
        const whole = headers["content-encoding"] === "gzip" ? body : gzipSync(body);
        const part = whole.subarray(0, Math.ceil(whole.length / 2));
        response.writeHead(status, { ...headers, "content-encoding": "gzip" }).end(part);
        return;
      }
      case "none":
      case "throttled":
      case "garbled":
      case "foreign":
      case "failing":
        response.writeHead(status, answer.headers).end(body);
    }
  });
}
