/** Random frames, half of them mended into something sensible, for a server that must survive them all. */
import { Flag, FrameType } from "../../gateway/dataplane/http2/frame.ts";
import { frame } from "../fakes/h2-frames.ts";
import { block, framesOf, GET, served, uint32 } from "../fakes/http2-sides.ts";
import type { Random } from "./random.ts";

const FLAGS = [
  0,
  Flag.endStream,
  Flag.endHeaders,
  Flag.endStream | Flag.endHeaders,
  Flag.padded,
  Flag.priority,
] as const;

function anyPayload(random: Random, type: number): Buffer {
  if (type === FrameType.headers || type === FrameType.continuation) {
    const whole = block([...GET, "x-a", random.text("ab", 0, 20)]);
    return random.chance(4) ? whole.subarray(0, random.below(whole.length)) : whole;
  }
  if (type === FrameType.windowUpdate || type === FrameType.rstStream)
    return uint32(random.chance(3) ? random.below(0xffff_ffff) : random.below(100_000));
  if (type === FrameType.ping) return Buffer.alloc(8);
  const bytes = Buffer.alloc(random.below(random.chance(20) ? 20_000 : 60));
  for (let at = 0; at < Math.min(bytes.length, 100); at++) bytes[at] = random.below(256);
  return bytes;
}

/** One connection of up to 60 frames, cut anywhere; answers what went wrong. */
export function surviveFrames(random: Random): string | undefined {
  const server = served({ maxStreams: 5, streamWindowBytes: 2_000, maxQueuedBytes: 4_000 });
  for (let count = random.below(60); count > 0; count--) {
    const type = random.chance(10) ? random.below(256) : random.below(11);
    const flags = random.chance(5) ? random.below(256) : random.pick(FLAGS);
    const bytes = frame(
      type,
      flags,
      random.chance(15) ? random.below(0x7fff_ffff) : random.below(12),
      anyPayload(random, type),
    );
    if (random.chance(12)) bytes[random.below(bytes.length)] = random.below(256);
    for (let at = 0; at < bytes.length; ) {
      const next = random.chance(2) ? bytes.length : Math.min(bytes.length, at + 1 + random.below(40));
      server.give(bytes.subarray(at, next));
      at = next;
    }
    for (const { stream } of server.requests) {
      if (random.chance(10)) stream?.pause();
      if (random.chance(10)) stream?.resume();
      if (random.chance(10)) stream?.headers([":status", "200"], random.chance(2));
      if (random.chance(10)) stream?.write(Buffer.alloc(random.below(3_000)), 0, 0);
      if (random.chance(20)) stream?.reset(8);
    }
    if (server.connection.queuedBytes > 5 * 2_000)
      return `holds ${server.connection.queuedBytes} octets of 5 streams`;
    framesOf(server.take());
  }
  server.connection.destroy(2);
  server.take();
  if (server.connection.streams > 0 || server.connection.queuedBytes > 0) return "holds on to streams";
  return server.requests.every(({ closedWith }) => closedWith !== undefined)
    ? undefined
    : "a stream was never closed";
}
