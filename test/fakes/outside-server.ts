import {
  createServer as createHttp,
  type IncomingMessage,
  type RequestListener,
  type Server as HttpServer,
} from "node:http";
import { createServer as createHttps, type Server as HttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Pair } from "./outside-pki.ts";

/** What a server of the outside saw of one request. */
export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly host: string;
  readonly headers: IncomingMessage["headers"];
  /** Common name of the client's certificate. */
  readonly client: string | undefined;
  readonly sni: string | undefined;
}

export interface OutsideServer {
  readonly port: number;
  readonly seen: SeenRequest[];
  readonly connections: () => number;
  /** Connections that are open now. */
  open(): Promise<number>;
  replaceCertificate(pair: Pair): void;
  stop(): Promise<void>;
}

export interface OutsideServerOptions {
  /** Absent: plain HTTP. */
  readonly tls?: Pair & {
    readonly clientCaPem?: string;
    readonly minVersion?: "TLSv1.2" | "TLSv1.3";
    readonly maxVersion?: "TLSv1.2" | "TLSv1.3";
  };
  readonly answer?: RequestListener;
}

export async function startOutsideServer({ tls, answer }: OutsideServerOptions): Promise<OutsideServer> {
  const seen: SeenRequest[] = [];
  let connections = 0;
  const listener: RequestListener = (request, response) => {
    const socket = request.socket as TLSSocket;
    const encrypted = "getPeerCertificate" in socket;
    const subject = encrypted
      ? (socket.getPeerCertificate().subject as { CN?: string } | undefined)
      : undefined;
    seen.push({
      method: request.method ?? "",
      url: request.url ?? "",
      host: request.headers.host ?? "",
      headers: request.headers,
      client: subject?.CN,
      sni: encrypted ? String((socket as unknown as { servername?: string | false }).servername) : undefined,
    });
    if (answer !== undefined) return answer(request, response);
    request.resume();
    response.end(`hello ${subject?.CN ?? "nobody"}`);
  };
  const server: HttpServer | HttpsServer =
    tls === undefined
      ? createHttp(listener)
      : createHttps(
          {
            cert: tls.certificatePem,
            key: tls.privateKeyPem,
            ...(tls.clientCaPem === undefined
              ? {}
              : { ca: tls.clientCaPem, requestCert: true, rejectUnauthorized: true }),
            ...(tls.minVersion === undefined ? {} : { minVersion: tls.minVersion }),
            ...(tls.maxVersion === undefined ? {} : { maxVersion: tls.maxVersion }),
          },
          listener,
        );
  server.keepAliveTimeout = 60_000;
  server.on("connection", () => (connections += 1));
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    seen,
    connections: () => connections,
    open: () =>
      new Promise((resolve, reject) =>
        server.getConnections((error, count) => (error === null ? resolve(count) : reject(error))),
      ),
    replaceCertificate: (pair) =>
      void (
        "setSecureContext" in server &&
        server.setSecureContext({ cert: pair.certificatePem, key: pair.privateKeyPem })
      ),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
