import type { Socket } from "node:net";
import type { OpenedStream } from "../tunnel-stream.ts";
import { ErrorCode } from "../tunnel-stream.ts";

/** A connection to the outside that behaves like a tunnel stream: whoever speaks HTTP over it need not know the difference. */
export type ExternalStream = Socket & OpenedStream;

/** `socket` is connected, and verified where it is TLS. */
export function externalStream(socket: Socket): ExternalStream {
  const ways = {
    rstCode: undefined as number | undefined,
    close(code: number = ErrorCode.noError): void {
      ways.rstCode ??= code;
      if (code === ErrorCode.noError) socket.end();
      else socket.destroy();
    },
  };
  Object.defineProperty(socket, "rstCode", { get: () => ways.rstCode });
  return Object.assign(socket, { close: ways.close }) as unknown as ExternalStream;
}
