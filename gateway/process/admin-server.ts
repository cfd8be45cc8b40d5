import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type Address, formatAddress } from "../../federation/model/address.ts";
import type { EgressAnswer } from "../../federation/model/egress-answer.ts";
import type { EgressFlow } from "../../federation/model/egress-flow.ts";
import type { Problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import { listenProblem } from "./fatal.ts";

export interface ProbeRequest {
  readonly workload: string;
  readonly service: string;
  readonly port: number;
}

export type ProbeAnswer =
  | { readonly ok: true; readonly latencyMs: number; readonly caller: string }
  | { readonly ok: false; readonly code: string; readonly detail: string };

export interface AdminHandlers {
  /** Whether new work should come here. */
  ready(): { readonly ready: boolean; readonly reason: string };
  /** Prometheus text. */
  metrics(): string | Promise<string>;
  /** Anything that JSON can hold. */
  status(): unknown;
  probe(request: ProbeRequest): Promise<ProbeAnswer>;
  /** Gateways only. */
  readonly egress?: EgressInsight | undefined;
}

export interface EgressAsked {
  readonly workload: string;
  readonly destination: string;
  readonly method?: string;
  readonly path?: string;
}

export interface EgressInsight {
  test(asked: EgressAsked): Promise<EgressAnswer>;
  flows(): { readonly flows: readonly EgressFlow[]; readonly lost: number };
}

export interface AdminServer {
  /** `127.0.0.1:45678` */
  readonly address: string;
  close(): void;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

const TEXT = "text/plain; charset=utf-8";
const JSON_TYPE = "application/json";
// Prometheus refuses a scrape whose type it does not know.
const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** Health, metrics, status and probes. Never in the data path, so `node:http` is good enough. */
export async function openAdminServer(
  listen: Address,
  handlers: AdminHandlers,
): Promise<Result<AdminServer, Problem>> {
  const server = createServer({ headersTimeout: 5000, requestTimeout: 10_000 }, (request, response) => {
    answer(request, handlers).then(
      (reply) => send(response, request.method, reply),
      (error: unknown) => send(response, request.method, text(500, `${String(error)}\n`)),
    );
  });
  // Nobody may keep a process alive or exhaust it through its admin listener.
  server.maxConnections = 256;
  const failure = await bind(server, listen);
  if (failure !== undefined) return err(listenProblem(formatAddress(listen), failure));
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : listen.port;
  return ok({
    address: formatAddress({ host: listen.host, port }),
    close() {
      server.close();
      server.closeAllConnections();
    },
  });
}

function bind(server: Server, { host, port }: Address): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    server.once("error", resolve);
    // A successor shares a fixed port with its predecessor, as the data path's listeners do.
    server.listen({ host, port, reusePort: port !== 0 }, () => {
      server.off("error", resolve);
      resolve(undefined);
    });
  });
}

async function answer(request: IncomingMessage, handlers: AdminHandlers): Promise<Answer> {
  if (request.method !== "GET" && request.method !== "HEAD") return text(405, "GET only\n");
  if (fromBrowserOfAnotherSite(request)) return text(403, "not for pages of other sites\n");
  const url = new URL(request.url ?? "/", "http://admin");
  switch (url.pathname) {
    case "/healthz":
      return text(200, "ok\n");
    case "/readyz": {
      const { ready, reason } = handlers.ready();
      return text(ready ? 200 : 503, `${reason}\n`);
    }
    case "/metrics":
      return { status: 200, type: METRICS_TYPE, body: await handlers.metrics() };
    default:
      // What tells more, or has effects, is for this machine: on a pod's address every other pod could ask.
      return isLocal(request) ? answerLocal(url, handlers) : text(403, "only from this machine\n");
  }
}

async function answerLocal(url: URL, handlers: AdminHandlers): Promise<Answer> {
  switch (url.pathname) {
    case "/status":
      return json(200, await handlers.status());
    case "/probe":
      return probe(url.searchParams, handlers);
    case "/egress/test":
      return egressTest(url.searchParams, handlers);
    case "/egress/flows":
      return handlers.egress === undefined
        ? text(404, "only a gateway lets anything out\n")
        : json(200, handlers.egress.flows());
    default:
      return text(404, "try /healthz /readyz /metrics /status /probe /egress/test /egress/flows\n");
  }
}

function isLocal({ socket }: IncomingMessage): boolean {
  const { remoteAddress = "" } = socket;
  return remoteAddress === "::1" || /^(?:::ffff:)?127\./.test(remoteAddress);
}

async function probe(query: URLSearchParams, handlers: AdminHandlers): Promise<Answer> {
  const workload = query.get("workload");
  const service = query.get("service");
  const port = Number(query.get("port"));
  if (workload === null || service === null || !Number.isInteger(port) || port < 1 || port > 65_535) {
    return text(400, "usage: /probe?workload=ns/shop/sa/web&service=cart.shop&port=80\n");
  }
  return json(200, await handlers.probe({ workload, service, port }));
}

async function egressTest(query: URLSearchParams, { egress }: AdminHandlers): Promise<Answer> {
  const [workload, destination] = [query.get("workload"), query.get("destination")];
  if (egress === undefined) return text(404, "only a gateway lets anything out\n");
  if (workload === null || destination === null)
    return text(400, "usage: /egress/test?workload=ns/shop/sa/web&destination=api.example.com:443\n");
  const [method, path] = [query.get("method"), query.get("path")];
  const request = { ...(method === null ? {} : { method }), ...(path === null ? {} : { path }) };
  return json(200, await egress.test({ workload, destination, ...request }));
}

/** A web page must not make a browser on this machine dial workloads: `/probe` has effects. */
function fromBrowserOfAnotherSite(request: IncomingMessage): boolean {
  const site = request.headers["sec-fetch-site"];
  return (
    request.headers.origin !== undefined || (site !== undefined && site !== "none" && site !== "same-origin")
  );
}

function send(response: ServerResponse, method: string | undefined, { status, type, body }: Answer): void {
  response.writeHead(status, {
    "content-type": type,
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
  });
  response.end(method === "HEAD" ? undefined : body);
}

function text(status: number, body: string): Answer {
  return { status, type: TEXT, body };
}

function json(status: number, value: unknown): Answer {
  return { status, type: JSON_TYPE, body: `${JSON.stringify(value)}\n` };
}
