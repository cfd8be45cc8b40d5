import http2, { type ClientHttp2Session, type OutgoingHttpHeaders } from "node:http2";
import tls, { type ConnectionOptions, type TLSSocket } from "node:tls";
import type { Credential } from "../../federation/trust/index.ts";
import { addressOf } from "./http-wire.ts";

/** A client of tunnel listeners that presents whatever it is told to, and checks nothing itself. */
export interface TunnelDial {
  readonly address: string;
  /** Absent: no certificate. */
  readonly credential?: Credential;
  /** Whatever else is odd about the handshake. */
  readonly tls?: ConnectionOptions;
}

/** Resolves when our side of the handshake is done; in TLS 1.3 the listener's verdict comes after that. */
export function dialTls({ address, credential, tls: odd = {} }: TunnelDial): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const identity =
      credential === undefined ? {} : { key: credential.privateKeyPem, cert: credential.chainPem };
    const socket = tls.connect({
      ...addressOf(address),
      ...identity,
      ALPNProtocols: ["h2"],
      rejectUnauthorized: false,
      ...odd,
    });
    socket.once("secureConnect", () => resolve(socket));
    socket.on("error", reject);
  });
}

/** An HTTP/2 session with a listener; `undefined` when the listener ended the connection instead of greeting. */
export async function openSession(dial: TunnelDial): Promise<ClientHttp2Session | undefined> {
  const socket = await dialTls(dial).catch(() => undefined);
  if (socket === undefined) return undefined;
  return new Promise((resolve) => {
    const session = http2.connect("https://tunnel", { createConnection: () => socket });
    session.once("remoteSettings", () => resolve(session));
    session.on("error", () => {});
    session.once("close", () => resolve(undefined));
  });
}

export interface TunnelAnswer {
  /** Absent when the stream was reset unanswered. */
  readonly status: number | undefined;
  readonly code: string | undefined;
}

/** Asks for a tunnel; a granted one is left open. */
export function askTunnel(session: ClientHttp2Session, headers: OutgoingHttpHeaders): Promise<TunnelAnswer> {
  return new Promise((resolve) => {
    const stream = session.request({ ":method": "CONNECT", ...headers }, { endStream: false });
    stream.once("response", (answer) => {
      const code = answer["isthmus-code"];
      resolve({ status: answer[":status"], code: typeof code === "string" ? code : undefined });
    });
    stream.on("error", () => {});
    stream.once("close", () => resolve({ status: undefined, code: undefined }));
  });
}
