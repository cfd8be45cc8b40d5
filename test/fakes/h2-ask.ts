import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from "node:http2";

export interface H2Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** Requests by HTTP/2 with prior knowledge, those to one address over one connection. */
export class H2Client {
  readonly #sessions = new Map<string, ClientHttp2Session>();

  ask(
    address: string,
    path: string,
    {
      method = "GET",
      headers = {},
      body,
    }: {
      readonly method?: string | undefined;
      readonly headers?: { readonly [name: string]: string | readonly string[] } | undefined;
      readonly body?: string | undefined;
    } = {},
  ): Promise<H2Answer> {
    const { host = "cart.shop", connection: _hopByHop, ...rest } = headers;
    const fields = { ":method": method, ":path": path, ":authority": String(host) };
    return new Promise((resolve, reject) => {
      const stream = this.#session(address).request(
        { ...fields, ...(rest as { [name: string]: string | string[] }) },
        { endStream: body === undefined },
      );
      const chunks: Buffer[] = [];
      let head: IncomingHttpHeaders = {};
      stream.once("response", (received) => (head = received));
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      // No retry may repeat what the client has begun to read, so the two are told apart.
      const fail = (error: Error): void =>
        reject(head[":status"] === undefined ? error : new Error("cut after its answer began"));
      stream.on("error", fail);
      stream.once("close", () => {
        const status = Number(head[":status"] ?? 0);
        // A reset with CANCEL is no `error` to Node.
        if (status === 0 || stream.rstCode > 0) return fail(new Error(`reset with code ${stream.rstCode}`));
        resolve({ status, headers: head, text: Buffer.concat(chunks).toString() });
      });
      if (body !== undefined) stream.end(body);
    });
  }

  close(): void {
    for (const session of this.#sessions.values()) session.destroy();
    this.#sessions.clear();
  }

  #session(address: string): ClientHttp2Session {
    const known = this.#sessions.get(address);
    if (known !== undefined && !known.closed && !known.destroyed) return known;
    const session = connect(`http://${address}`);
    session.on("error", () => {});
    session.unref();
    this.#sessions.set(address, session);
    return session;
  }
}
