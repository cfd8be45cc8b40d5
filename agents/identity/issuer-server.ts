import { createServer, type Server } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import { type Address, formatAddress } from "../../federation/model/address.ts";
import { type Problem, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import type { Credential } from "../../federation/trust/index.ts";
import type { Watch } from "../../gateway/dataplane/index.ts";
import type { Issuer } from "./issuer.ts";
import { encodeRefusal, ISSUE_PATH, issueRequest, statusOf } from "./issuer-wire.ts";

export interface IssuerServer {
  /** `10.0.0.1:15012` */
  readonly address: string;
  close(): void;
}

const MAX_CONNECTIONS = 1_024;
/** Each costs the API server a review and us a signature. */
const MAX_UNDER_WAY = 64;
const MAX_BODY_BYTES = 16 * 1024;
const MAX_TOKEN = 16 * 1024;

/**
 * HTTPS with the gateway's own SVID: who asks verifies it against the cluster's trust bundle before it shows its token.
 * Askers have no certificate yet, so none is asked for.
 */
export async function openIssuerServer(
  listen: Address,
  issuer: Issuer,
  credential: Watch<Credential>,
): Promise<Result<IssuerServer, Problem>> {
  const certificate = () => ({
    key: credential.current.privateKeyPem,
    cert: credential.current.chainPem,
    minVersion: "TLSv1.3" as const,
  });
  let underWay = 0;
  const answer = async (request: IncomingMessage): Promise<Result<string, Problem>> => {
    if (underWay >= MAX_UNDER_WAY)
      return err(problem("overloaded", `more than ${MAX_UNDER_WAY} requests at once`));
    underWay += 1;
    try {
      const token = bearerOf(request);
      if (token === undefined) return err(problem("identity_denied", "no bearer token"));
      const csrPem = await readCsr(request);
      return csrPem === undefined
        ? err(problem("csr_invalid", "the request is not JSON with a csr"))
        : await issuer.issue({ token, csrPem });
    } finally {
      underWay -= 1;
    }
  };
  const limits = {
    headersTimeout: 5_000,
    requestTimeout: 10_000,
    handshakeTimeout: 5_000,
    maxHeaderSize: 32 * 1024,
  };
  const server = createServer({ ...certificate(), ...limits }, (request, response) => {
    if (request.method !== "POST" || request.url !== ISSUE_PATH)
      return send(response, 404, { detail: `POST ${ISSUE_PATH}` });
    answer(request).then(
      (done) =>
        done.ok
          ? send(response, 200, { chain: done.value })
          : send(response, statusOf(done.error), encodeRefusal(done.error)),
      (error: unknown) => send(response, 500, { detail: String(error) }),
    );
  });
  server.maxConnections = MAX_CONNECTIONS;
  const failure = await bind(server, listen);
  if (failure !== undefined)
    return err(
      problem("port_in_use", `the issuer cannot listen on ${formatAddress(listen)}: ${failure.message}`),
    );
  const unsubscribe = credential.subscribe(() => server.setSecureContext(certificate()));
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : listen.port;
  return ok({
    address: formatAddress({ host: listen.host, port }),
    close() {
      unsubscribe();
      server.close();
      server.closeAllConnections();
    },
  });
}

function bind(server: Server, { host, port }: Address): Promise<Error | undefined> {
  return new Promise((resolve) => {
    server.once("error", resolve);
    server.listen({ host, port, reusePort: port !== 0 }, () => {
      server.off("error", resolve);
      // A client that breaks off its handshake is no error of ours.
      server.on("tlsClientError", (_error, socket) => socket.destroy());
      resolve(undefined);
    });
  });
}

function bearerOf({ headers }: IncomingMessage): string | undefined {
  const [, token] = /^Bearer ([A-Za-z0-9._~+/=-]+)$/.exec(headers.authorization ?? "") ?? [];
  return token !== undefined && token.length <= MAX_TOKEN ? token : undefined;
}

async function readCsr(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk as Buffer);
  }
  try {
    const decoded = issueRequest.safeParse(JSON.parse(Buffer.concat(chunks).toString("utf8")));
    return decoded.success ? decoded.data.csr : undefined;
  } catch {
    return undefined;
  }
}

function send(response: ServerResponse, status: number, body: object): void {
  if (response.destroyed) return;
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}
