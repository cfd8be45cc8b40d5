/** A relay of bytes before an HTTP/2 server, which counts the streams that the server resets. */
import { connect, createServer, type Socket } from "node:net";
import { FrameType, MAX_MAX_FRAME_BYTES } from "../../gateway/dataplane/http2/frame.ts";
import { FrameReader } from "../../gateway/dataplane/http2/frame-reader.ts";

export interface FrameWatch {
  readonly address: string;
  /** How often the server sent RST_STREAM, by its code (RFC 9113 §7). */
  readonly resets: ReadonlyMap<number, number>;
  stop(): Promise<void>;
}

export async function watchFrames(host: string, port: number): Promise<FrameWatch> {
  const resets = new Map<number, number>();
  const open = new Set<Socket>();
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    const upstream = connect({ host, port, noDelay: true, allowHalfOpen: true });
    const reader = resetReader(resets);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(from);
      from.on("error", () => to.destroy());
      from.once("close", () => (open.delete(from), from.destroy(), to.destroySoon()));
      from.pipe(to);
    }
    upstream.on("data", (chunk: Buffer) => reader.read(chunk, 0, chunk.length));
  });
  const bound = await new Promise<number>((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
  return {
    address: `127.0.0.1:${bound}`,
    resets,
    stop: () => {
      for (const socket of open) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

function resetReader(resets: Map<number, number>): FrameReader {
  const nothing = (): void => {};
  return new FrameReader(
    {
      frame: (type, _flags, _stream, buffer, start) => {
        if (type !== FrameType.rstStream) return;
        const code = buffer.readUInt32BE(start);
        resets.set(code, (resets.get(code) ?? 0) + 1);
      },
      dataStart: nothing,
      data: nothing,
      dataEnd: nothing,
      fault: (code, detail) => {
        throw new Error(`the server sent what is no frame: ${code} ${detail}`);
      },
    },
    MAX_MAX_FRAME_BYTES,
  );
}
