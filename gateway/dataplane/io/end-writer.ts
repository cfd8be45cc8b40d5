import type { RelayEnd } from "./relay.ts";
import { SocketWriter } from "./socket-writer.ts";
import { TunnelChannel } from "./tunnel-channel.ts";

/** Writes bytes that are on loan; what is written past it comes after a `flush`. */
export interface EndWriter {
  /** `false`: write no more before `drain`. */
  write(bytes: Buffer, start: number, end: number): boolean;
  flush(): void;
}

/** A tunnel stream copies what it cannot send at once; a socket keeps what it is given. */
export function writerOf(end: RelayEnd): EndWriter {
  if (!(end instanceof TunnelChannel)) return new SocketWriter(end);
  return { write: (bytes, from, to) => end.stream.write(bytes, from, to), flush: () => {} };
}
