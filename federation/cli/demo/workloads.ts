import { Agent, createServer, type IncomingMessage, request } from "node:http";

/** The workloads of the demo are this very process: `cart` listens here, `web` and `batch` call from here. */
export interface CartWorkload {
  /** `127.0.0.1:9003` */
  readonly address: string;
  close(): void;
}

export const CART_ANSWER = "2 apples, 1 pear: the cart of cluster east";

export function startCart(): Promise<CartWorkload> {
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-type": "text/plain; charset=utf-8" });
    response.end(`${CART_ANSWER}\n`);
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const bound = server.address();
      const port = typeof bound === "object" && bound !== null ? bound.port : 0;
      const close = (): void => {
        server.close();
        server.closeAllConnections();
      };
      resolve({ address: `127.0.0.1:${port}`, close });
    });
  });
}

export interface Answer {
  readonly status: number;
  readonly body: string;
  /** Our own code, when Isthmus answered instead of the workload. */
  readonly code?: string;
  readonly detail?: string;
  readonly latencyMs: number;
}

/** Makes calls as a workload does: plain HTTP to a local address, connections kept. */
export function createCaller(elapsed: () => number): {
  call(address: string): Promise<Answer>;
  close(): void;
} {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  return {
    close: () => agent.destroy(),
    call: (address) =>
      new Promise((resolve, reject) => {
        const began = elapsed();
        const headers = { host: "cart.shop.svc.clusterset.local" };
        const call = request(`http://${address}/`, { agent, headers, timeout: 5000 }, (response) => {
          readText(response).then((body) => resolve(answerOf(response, body, elapsed() - began)), reject);
        });
        call.once("timeout", () => call.destroy(new Error(`${address} did not answer within 5 s`)));
        call.once("error", reject);
        call.end();
      }),
  };
}

async function readText(response: IncomingMessage): Promise<string> {
  response.setEncoding("utf8");
  let text = "";
  for await (const chunk of response) text += String(chunk);
  return text;
}

function answerOf(response: IncomingMessage, body: string, latencyMs: number): Answer {
  const code = response.headers["isthmus-code"];
  const answer = { status: response.statusCode ?? 0, body: body.trim(), latencyMs };
  return typeof code === "string" ? { ...answer, code, detail: problemDetail(body) } : answer;
}

function problemDetail(body: string): string {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === "object" && parsed !== null && "detail" in parsed ? String(parsed.detail) : "";
  } catch {
    return "";
  }
}
