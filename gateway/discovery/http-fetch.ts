import http from "node:http";
import https from "node:https";
import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";

/** The part of the Fetch standard that members need; the global `fetch` fits. */
export type Fetch = (
  url: string,
  init: {
    readonly method: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly signal: AbortSignal;
    readonly redirect: "manual";
    readonly body?: string;
  },
) => Promise<FetchAnswer>;

export interface FetchAnswer {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body: AsyncIterable<Uint8Array> | null;
}

// A member has a long poll and a report or two under way; each of them keeps its connection.
const MAX_SOCKETS = 8;
const AGENT = { keepAlive: true, maxSockets: MAX_SOCKETS };

/** Over node:http, because the global `fetch` costs every process 15 MB of resident memory at its first use. */
export function createHttpFetch(): Fetch {
  const plain = new http.Agent(AGENT);
  const secure = new https.Agent(AGENT);
  return (url, { method, headers, signal, body }) =>
    new Promise((resolve, reject) => {
      const options = { method, headers, signal };
      const answered = (response: http.IncomingMessage): void =>
        resolve({
          status: response.statusCode ?? 0,
          headers: { get: (name) => headerOf(response, name) },
          body: unpacked(response),
        });
      const request = url.startsWith("https:")
        ? https.request(url, { ...options, agent: secure }, answered)
        : http.request(url, { ...options, agent: plain }, answered);
      request.once("error", reject);
      request.end(body);
    });
}

/** As the server packed it; whoever reads bounds what comes out. */
function unpacked(response: http.IncomingMessage): AsyncIterable<Uint8Array> {
  if (response.headers["content-encoding"] !== "gzip") return response;
  const gunzip = createGunzip();
  // Ends with the answer, however that ends.
  pipeline(response, gunzip, () => {});
  return gunzip;
}

function headerOf(response: http.IncomingMessage, name: string): string | null {
  const value = response.headers[name];
  return typeof value === "string" ? value : null;
}
