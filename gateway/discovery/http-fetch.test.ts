import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createHttpFetch } from "./http-fetch.ts";

describe("fetch over node:http", () => {
  const seen: string[] = [];
  let server: http.Server;
  let url: string;
  beforeEach(async () => {
    server = http.createServer((request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => {
        body += chunk.toString("utf8");
      });
      request.on("end", () => {
        seen.push(`${request.method} ${request.url} ${String(request.headers["x-test"])} ${body}`);
        if (request.url !== "/silent") response.writeHead(201, { etag: '"7"' }).end("héllo");
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(() => {
    seen.length = 0;
    server.closeAllConnections();
    server.close();
  });

  const init = (signal: AbortSignal) => ({
    method: "PUT",
    headers: { "x-test": "1" },
    redirect: "manual" as const,
    signal,
  });

  it("sends method, headers and body, and answers status, headers and body", async () => {
    const answer = await createHttpFetch()(`${url}/a?b=c`, {
      ...init(new AbortController().signal),
      body: "wörld",
    });
    const chunks: Uint8Array[] = [];
    for await (const chunk of answer.body ?? []) chunks.push(chunk);
    expect(seen).toEqual(["PUT /a?b=c 1 wörld"]);
    expect(answer.status).toBe(201);
    expect(answer.headers.get("etag")).toBe('"7"');
    expect(answer.headers.get("date-of-birth")).toBeNull();
    expect(Buffer.concat(chunks).toString("utf8")).toBe("héllo");
  });

  it("rejects when the signal ends a request that is not answered", async () => {
    const abort = new AbortController();
    const pending = createHttpFetch()(`${url}/silent`, init(abort.signal));
    abort.abort();
    await expect(pending).rejects.toThrow(/abort/i);
  });

  it("rejects when nobody listens", async () => {
    await expect(
      createHttpFetch()("http://127.0.0.1:9/", init(new AbortController().signal)),
    ).rejects.toThrow("ECONNREFUSED");
  });
});
