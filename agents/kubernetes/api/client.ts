import http, { type ClientRequest, type IncomingMessage, type OutgoingHttpHeaders } from "node:http";
import https from "node:https";
import { err, ok, type Result } from "../../../federation/model/result.ts";
import type { KubeAccess } from "./access.ts";
import { type ApiFailure, failureOf, unreachable } from "./failure.ts";
import { LineSplitter } from "./line-splitter.ts";

export interface ApiRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: { readonly [name: string]: string | undefined };
  readonly body?: unknown;
  /** Of a PATCH; JSON otherwise. */
  readonly contentType?: string;
}

/** A watch under way. */
export interface WatchRequest {
  readonly path: string;
  readonly query: { readonly [name: string]: string | undefined };
  /** Silence after which the connection counts as dead. */
  readonly silenceMs: number;
  /** The server has begun to answer; events may be long in coming. */
  readonly onOpen?: () => void;
  readonly onEvent: (event: unknown) => void;
  /** Once, at the end; `undefined`: the server ended it in order. */
  readonly onEnd: (failure: ApiFailure | undefined) => void;
}

/** Speaks to one API server. Nothing is thrown. */
export interface KubeClient {
  request(request: ApiRequest): Promise<Result<unknown, ApiFailure>>;
  /** Returns the way to end it; `onEnd` is not called after that. */
  watch(request: WatchRequest): () => void;
  close(): void;
}

// The API server's own limit for ordinary requests is a minute; one that is well answers in milliseconds.
const TIMEOUT_MS = 20_000;
/** A page of 500 EndpointSlices with a hundred endpoints each. */
const MAX_BODY_BYTES = 64 * 1024 * 1024;
/** Above what etcd stores for one object (1.5 MiB), twice for events that carry it escaped. */
const MAX_EVENT_BYTES = 4 * 1024 * 1024;
const MAX_SOCKETS = 8;

/**
 * Our own thin client: `@kubernetes/client-node` costs a process 70 MB before its first request, and its informers keep
 * whole objects (decision 27).
 */
export function createKubeClient(access: KubeAccess): KubeClient {
  const secure = access.url.protocol === "https:";
  const tls = { ca: access.ca, cert: access.cert, key: access.key, servername: access.serverName };
  const agentOptions = { keepAlive: true, ...(secure ? withoutUndefined(tls) : {}) };
  const module = secure ? https : http;
  // Watches hold their connections: they must not starve requests.
  const requests = new module.Agent({ ...agentOptions, maxSockets: MAX_SOCKETS });
  const watches = new module.Agent(agentOptions);

  const open = (
    agent: http.Agent | https.Agent,
    { method, path, query, body, contentType }: ApiRequest,
  ): ClientRequest => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers: OutgoingHttpHeaders = { accept: "application/json", "user-agent": "isthmus" };
    const token = access.token();
    if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
    if (text !== undefined) {
      headers["content-type"] = contentType ?? "application/json";
      headers["content-length"] = Buffer.byteLength(text);
    }
    const request = module.request({
      agent,
      method,
      headers,
      hostname: access.url.hostname.replace(/^\[|\]$/g, ""),
      port: access.url.port === "" ? (secure ? 443 : 80) : access.url.port,
      path: `${access.url.pathname.replace(/\/$/, "")}${path}${queryText(query)}`,
    });
    request.end(text);
    return request;
  };

  return {
    request: (asked) =>
      new Promise((resolve) => {
        const request = open(requests, asked);
        const timer = setTimeout(
          () => request.destroy(new Error(`no answer in ${TIMEOUT_MS} ms`)),
          TIMEOUT_MS,
        );
        const finish = (result: Result<unknown, ApiFailure>): void => {
          clearTimeout(timer);
          resolve(result);
        };
        request.on("error", (error) => finish(err(unreachable(error.message))));
        request.on("response", (response) => {
          collect(response, MAX_BODY_BYTES).then(
            (text) => finish(answerOf(response, text)),
            (error: unknown) => finish(err(unreachable(String(error)))),
          );
        });
      }),
    watch(asked) {
      const request = open(watches, { ...asked, method: "GET" });
      let over = false;
      const end = (failure: ApiFailure | undefined): void => {
        if (over) return;
        over = true;
        request.destroy();
        asked.onEnd(failure);
      };
      request.setTimeout(asked.silenceMs, () => end(unreachable(`silent for ${asked.silenceMs} ms`)));
      request.on("error", (error) => end(unreachable(error.message)));
      request.on("response", (response) => {
        if (response.statusCode !== 200) {
          collect(response, MAX_BODY_BYTES).then(
            (text) => end(failureOf(response.statusCode ?? 0, messageOf(text), retryAfterOf(response))),
            (error: unknown) => end(unreachable(String(error))),
          );
          return;
        }
        if (!over) asked.onOpen?.();
        readEvents(response, (event) => over || asked.onEvent(event), end);
      });
      return () => {
        over = true;
        request.destroy();
      };
    },
    close() {
      requests.destroy();
      watches.destroy();
    },
  };
}

function readEvents(
  response: IncomingMessage,
  onEvent: (event: unknown) => void,
  onEnd: (failure: ApiFailure | undefined) => void,
): void {
  const lines = new LineSplitter(MAX_EVENT_BYTES);
  response.on("data", (chunk: Buffer) => {
    try {
      for (const line of lines.push(chunk)) onEvent(JSON.parse(line) as unknown);
    } catch (error) {
      onEnd(unreachable(`the watch cannot be read: ${(error as Error).message}`));
    }
  });
  response.on("end", () => onEnd(undefined));
  response.on("error", (error) => onEnd(unreachable(error.message)));
  response.on("aborted", () => onEnd(unreachable("the connection was cut")));
}

function answerOf(response: IncomingMessage, text: string): Result<unknown, ApiFailure> {
  const status = response.statusCode ?? 0;
  if (status < 200 || status > 299) return err(failureOf(status, messageOf(text), retryAfterOf(response)));
  try {
    return ok(JSON.parse(text) as unknown);
  } catch {
    return err(unreachable("the answer is not JSON"));
  }
}

function messageOf(text: string): string {
  try {
    const value = JSON.parse(text) as { readonly message?: unknown } | null;
    return typeof value?.message === "string" ? value.message : "";
  } catch {
    return text.slice(0, 200);
  }
}

function retryAfterOf(response: IncomingMessage): string | undefined {
  return response.headers["retry-after"];
}

function collect(response: IncomingMessage, maxBytes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    response.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBytes) response.destroy(new Error(`the answer is larger than ${maxBytes} bytes`));
      else chunks.push(chunk);
    });
    response.on("end", () => resolve(Buffer.concat(chunks).toString("utf8")));
    response.on("error", reject);
    response.on("aborted", () => reject(new Error("the connection was cut")));
  });
}

function queryText(query: ApiRequest["query"]): string {
  const pairs = Object.entries(query ?? {}).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`],
  );
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}

function withoutUndefined<T extends object>(values: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
