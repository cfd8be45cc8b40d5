import { connect } from "node:tls";
import { PREFACE } from "../../gateway/dataplane/http2/frame.ts";

export interface AlpnTry {
  readonly port: number;
  readonly servername: string;
  readonly ca: string;
  /** Absent: no ALPN in the ClientHello. */
  readonly offered?: readonly string[];
  /** What is sent once the handshake is done. */
  readonly says: "preface" | "request";
}

const EMPTY_SETTINGS = Buffer.alloc(9, 0).fill(4, 3, 4);
// A frame's fourth octet is its type; a server's first frame is SETTINGS (RFC 9113 §3.4).
const SETTINGS = 4;

/**
 * Which protocol the handshake settled on and what the server then speaks, as `h2: HTTP/2` or `none: HTTP/1.1 404`; or the code of
 * what ended the handshake.
 */
export function negotiate({ port, servername, ca, offered, says }: AlpnTry): Promise<string> {
  return new Promise((resolve) => {
    const ALPNProtocols = offered === undefined ? {} : { ALPNProtocols: [...offered] };
    const socket = connect({ host: "127.0.0.1", port, servername, ca, ...ALPNProtocols });
    let received = Buffer.alloc(0);
    const done = (answer: string): void => {
      resolve(answer);
      socket.destroy();
    };
    socket.once("secureConnect", () => {
      if (says === "preface") socket.write(Buffer.concat([PREFACE, EMPTY_SETTINGS]));
      else socket.write(`GET /nowhere HTTP/1.1\r\nhost: ${servername}\r\n\r\n`);
    });
    socket.on("error", (error: NodeJS.ErrnoException) => done(error.code ?? error.message));
    socket.once("close", () => done("closed"));
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 12) return;
      const text = received.toString("latin1", 0, 12);
      const spoken = text.startsWith("HTTP/") ? text : received[3] === SETTINGS ? "HTTP/2" : "something else";
      done(`${socket.alpnProtocol || "none"}: ${spoken}`);
    });
  });
}
