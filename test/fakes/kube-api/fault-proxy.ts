// Longer than other files: one HTTP proxy, and every way in which it misbehaves.
import { once } from "node:events";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import type { KubeAccess } from "../../../agents/kubernetes/api/access.ts";
import { LineSplitter } from "../../../agents/kubernetes/api/line-splitter.ts";

/** What happens to the events of watches on their way. */
export type WatchFault =
  | "none"
  /** The connection ends after every single event. */
  | "cut"
  /** It ends in the middle of an event; when that event comes again, after it. */
  | "torn"
  /** Every event comes again, the ones before it too and in another order. */
  | "disorder";

/** `patch serviceimports/status shop/cart`: a request in the API server's own words. */
export interface Asked {
  readonly verb: "get" | "list" | "watch" | "create" | "update" | "patch" | "delete";
  /** With its subresource: `serviceexports/status`. */
  readonly resource: string;
  readonly group: string;
  /** `shop/cart`, `cart`, or nothing. */
  readonly name: string;
}

/** Stands between our processes and an API server, the double or a real one, and spoils what passes as it is told. */
export interface KubeFaults {
  /** The same API server, as the same user, through here. */
  through(access: KubeAccess): KubeAccess;
  watches: WatchFault;
  /** All requests so far, those of Leases left out. */
  readonly asked: readonly Asked[];
  /** Cuts every watch under way. */
  cut(): void;
  /** Cuts every watch under way, and what it followed is forgotten: where it left off is too long ago (410). */
  expire(): void;
  /** Answers these requests itself; returns the way to stop. */
  refuse(matches: (asked: Asked) => boolean, status: number, message: string): () => void;
  /**
   * The API server has done a write, and whoever asked for it has not heard yet. While this is set, writes are done one by
   * one; one that answers `drop` is never answered, nor are those that wait behind it done.
   */
  onWrite: ((asked: Asked) => Promise<"drop" | "answer">) | undefined;
  close(): Promise<void>;
}

const OLD_EVENTS = 4;

export async function startKubeFaults(target: KubeAccess): Promise<KubeFaults> {
  const proxy = new FaultProxy(target);
  await proxy.listen();
  return proxy;
}

class FaultProxy implements KubeFaults {
  watches: WatchFault = "none";
  readonly asked: Asked[] = [];
  onWrite: KubeFaults["onWrite"];
  readonly #target: KubeAccess;
  readonly #agent: http.Agent | https.Agent;
  readonly #server = http.createServer((request, response) => this.#answer(request, response));
  /** Watches under way: what each follows, and as whom. */
  readonly #following = new Map<ServerResponse, string>();
  /** Of these the next watch is told that its place is forgotten. */
  readonly #expired = new Set<string>();
  readonly #refusals = new Set<(asked: Asked) => readonly [number, string] | undefined>();
  /** Events that were torn once. */
  readonly #torn = new Set<string>();
  #writes: Promise<void> = Promise.resolve();
  #era = 0;

  constructor(target: KubeAccess) {
    this.#target = target;
    const { ca, serverName } = target;
    this.#agent =
      target.url.protocol === "https:"
        ? new https.Agent({
            keepAlive: true,
            ...(ca === undefined ? {} : { ca }),
            ...(serverName === undefined ? {} : { servername: serverName }),
          })
        : new http.Agent({ keepAlive: true });
  }

  async listen(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  through({ token }: KubeAccess): KubeAccess {
    return { url: new URL(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`), token };
  }

  cut(): void {
    for (const response of [...this.#following.keys()]) response.destroy();
  }

  expire(): void {
    for (const followed of this.#following.values()) this.#expired.add(followed);
    this.cut();
  }

  refuse(matches: (asked: Asked) => boolean, status: number, message: string): () => void {
    const refusal = (asked: Asked): readonly [number, string] | undefined =>
      matches(asked) ? [status, message] : undefined;
    this.#refusals.add(refusal);
    return () => this.#refusals.delete(refusal);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    this.#agent.destroy();
    await once(this.#server, "close");
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    response.on("error", () => {});
    request.on("error", () => {});
    const url = new URL(request.url ?? "/", "http://api");
    const asked = askedOf(request.method ?? "GET", url);
    if (asked.resource !== "leases") this.asked.push(asked);
    for (const refusal of this.#refusals) {
      const found = refusal(asked);
      if (found === undefined) continue;
      request.resume();
      return this.#say(response, ...found);
    }
    if (asked.verb === "watch")
      return this.#watch(request, response, `${url.pathname} ${request.headers.authorization ?? ""}`);
    const isWrite = !["get", "list"].includes(asked.verb) && asked.resource !== "leases";
    if (!isWrite || this.onWrite === undefined)
      return this.#forward(request, response, (answer) => this.#pass(answer, response));
    const era = this.#era;
    this.#writes = this.#writes.then(() =>
      era === this.#era ? this.#write(request, response, asked) : undefined,
    );
  }

  #write(request: IncomingMessage, response: ServerResponse, asked: Asked): Promise<void> {
    return new Promise((resolve) => {
      response.on("close", resolve);
      if (response.destroyed) return resolve();
      this.#forward(request, response, (answer) => {
        const done = answer.statusCode !== undefined && answer.statusCode < 300;
        void (done ? this.onWrite?.(asked) : undefined)?.then((verdict) => {
          if (verdict === "answer") return this.#pass(answer, response);
          this.#era += 1;
          answer.destroy();
          response.destroy();
        });
        if (!done || this.onWrite === undefined) this.#pass(answer, response);
      });
    });
  }

  #pass(answer: IncomingMessage, response: ServerResponse): void {
    answer.pipe(response.writeHead(answer.statusCode ?? 502, answer.headers));
  }

  #forward(
    request: IncomingMessage,
    response: ServerResponse,
    onAnswer: (answer: IncomingMessage) => void,
  ): void {
    const { url } = this.#target;
    const { host: _host, connection: _connection, ...headers } = request.headers;
    const upstream = (url.protocol === "https:" ? https : http).request({
      agent: this.#agent,
      hostname: url.hostname,
      port: url.port,
      method: request.method,
      path: request.url,
      headers,
    });
    upstream.on("response", onAnswer);
    upstream.on("error", () => response.destroy());
    response.on("close", () => upstream.destroy());
    request.pipe(upstream);
  }

  #watch(request: IncomingMessage, response: ServerResponse, followed: string): void {
    if (this.#expired.delete(followed)) {
      const status = { kind: "Status", code: 410, reason: "Expired", message: "too old resource version" };
      request.resume();
      response.writeHead(200, { "content-type": "application/json" });
      return void response.end(`${JSON.stringify({ type: "ERROR", object: status })}\n`);
    }
    this.#following.set(response, followed);
    response.on("close", () => this.#following.delete(response));
    this.#forward(request, response, (answer) => {
      if (answer.statusCode !== 200) return this.#pass(answer, response);
      response.writeHead(200, { "content-type": "application/json" });
      response.flushHeaders();
      const lines = new LineSplitter(16 * 1024 * 1024);
      const before: string[] = [];
      answer.on("data", (chunk: Buffer) => {
        for (const line of lines.push(chunk))
          if (this.#following.has(response)) this.#send(line, before, response);
      });
      answer.on("end", () => response.end());
      answer.on("error", () => response.destroy());
    });
  }

  #send(line: string, before: string[], response: ServerResponse): void {
    if (line.startsWith('{"type":"BOOKMARK"')) return void response.write(`${line}\n`);
    switch (this.watches) {
      case "none":
        response.write(`${line}\n`);
        break;
      case "torn":
        this.#writeAndCut(
          this.#torn.has(line) ? `${line}\n` : line.slice(0, Math.ceil(line.length / 2)),
          response,
        );
        this.#torn.add(line);
        break;
      case "cut":
        this.#writeAndCut(`${line}\n`, response);
        break;
      case "disorder":
        for (const each of [line, ...before.slice(-OLD_EVENTS).reverse(), line]) response.write(`${each}\n`);
    }
    before.push(line);
    if (before.length > OLD_EVENTS) before.shift();
  }

  #writeAndCut(text: string, response: ServerResponse): void {
    // What came behind it in the same packet is lost as well.
    this.#following.delete(response);
    response.write(text, () => response.destroy());
  }

  #say(response: ServerResponse, code: number, message: string): void {
    const reason = code === 409 ? "Conflict" : "Scripted";
    const body = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", code, reason, message };
    response.writeHead(code, { "content-type": "application/json" }).end(JSON.stringify(body));
  }
}

/** As RBAC sees a request. */
export function askedOf(method: string, url: URL): Asked {
  const [root, ...rest] = url.pathname.split("/").filter((part) => part !== "");
  const [group = "", , ...tail] = root === "api" ? ["", ...rest] : rest;
  const namespaced = tail[0] === "namespaces" && tail.length > 2;
  const [plural = "", name, subresource] = (namespaced ? tail.slice(2) : tail).map(decodeURIComponent);
  const verbs = { POST: "create", PUT: "update", PATCH: "patch", DELETE: "delete" } as const;
  const reading = name !== undefined ? "get" : url.searchParams.has("watch") ? "watch" : "list";
  return {
    verb: verbs[method as keyof typeof verbs] ?? reading,
    resource: subresource === undefined ? plural : `${plural}/${subresource}`,
    group,
    name: [namespaced ? tail[1] : undefined, name].filter((part) => part !== undefined).join("/"),
  };
}
