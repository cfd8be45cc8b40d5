import { describe, expect, it } from "vitest";
import { pair } from "../../../test/fakes/http2-sides.ts";
import { Flag, FrameType } from "./frame.ts";

/** Type, flags and stream of each frame. */
function frames(bytes: Buffer): readonly (readonly [type: number, flags: number, stream: number])[] {
  const found: [number, number, number][] = [];
  for (let at = 0; at < bytes.length; at += 9 + bytes.readUIntBE(at, 3))
    found.push([bytes[at + 3]!, bytes[at + 4]!, bytes.readUInt32BE(at + 5)]);
  return found;
}

describe("the end of a stream is sent", () => {
  const asked = () => {
    const { client, server } = pair();
    const streams = [client.open().stream!, client.open().stream!] as const;
    client.take();
    return { client, server, streams };
  };

  it("with the last piece of its content, if that has not left yet", () => {
    const { client, streams } = asked();
    streams[0].write(Buffer.from("content"), 0, 7);
    streams[0].end();
    expect(frames(client.take())).toEqual([[FrameType.data, Flag.endStream, 1]]);
  });

  it("with a frame of its own, if that has left", () => {
    const { client, streams } = asked();
    streams[0].write(Buffer.from("content"), 0, 7);
    expect(frames(client.take())).toEqual([[FrameType.data, 0, 1]]);
    streams[0].end();
    expect(frames(client.take())).toEqual([[FrameType.data, Flag.endStream, 1]]);
  });

  it("with a frame of its own, if another stream's came in between", () => {
    const { client, streams } = asked();
    for (const stream of streams) stream.write(Buffer.from("content"), 0, 7);
    streams[0].end();
    expect(frames(client.take())).toEqual([
      [FrameType.data, 0, 1],
      [FrameType.data, 0, 3],
      [FrameType.data, Flag.endStream, 1],
    ]);
  });

  it("with trailers behind its content", () => {
    const { client, streams } = asked();
    streams[0].write(Buffer.from("content"), 0, 7);
    streams[0].end(["grpc-status", "0"]);
    const both = Flag.endStream | Flag.endHeaders;
    expect(frames(client.take())).toEqual([
      [FrameType.data, 0, 1],
      [FrameType.headers, both, 1],
    ]);
  });
});
