import { EventEmitter } from "node:events";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ControlMessage } from "../../../federation/model/wire/control-message.ts";
import { ControlChannel } from "./control-channel.ts";
import type { TunnelStream } from "./tunnel-stream.ts";

/** A stream of which only the bytes matter. */
class BareStream extends EventEmitter {
  closed = false;
  destroyed = false;
  writableLength = 0;
  readonly written: string[] = [];
  write(text: string): boolean {
    this.written.push(text);
    return true;
  }
  close(): void {
    this.closed = true;
    this.emit("close");
  }
}

function open() {
  const stream = new BareStream();
  const heard: ControlMessage[] = [];
  let closed = 0;
  const channel = new ControlChannel(stream as unknown as TunnelStream, {
    onMessage: (message) => heard.push(message),
    onClosed: () => (closed += 1),
  });
  const feed = (text: string) => stream.emit("data", Buffer.from(text));
  return { stream, channel, heard, feed, closed: () => closed };
}

const MESSAGES: readonly ControlMessage[] = [
  { hello: "gateway-1" },
  { services: { "cart.shop.svc.clusterset.local:80": [1, 2], gone: null } },
  { ask: { "west/shop/limit cart.shop": [5, 0.5] }, grant: { limit: 3 } },
];

describe("a control channel", () => {
  it("hears whole messages however their bytes are cut", () => {
    const text = MESSAGES.map((message) => `${JSON.stringify(message)}\n`).join("");
    fc.assert(
      fc.property(fc.array(fc.nat({ max: text.length }), { maxLength: 12 }), (cuts) => {
        const { heard, feed } = open();
        const edges = [0, ...cuts.toSorted((a, b) => a - b), text.length];
        edges.slice(1).forEach((edge, index) => feed(text.slice(edges[index], edge)));
        expect(heard).toEqual(MESSAGES);
      }),
    );
  });

  it.each([
    "not json\n",
    "[]\n",
    '{"hello":5}\n',
    '{"hello":"a","more":1}\n',
    '{"services":{"a":[1]}}\n',
    '{"services":{"a":[-1,2]}}\n',
    '{"ask":{"a":[1e99,0]}}\n',
    '{"grant":{"a":null}}\n',
  ])("ends with a peer that says %j, and believes nothing of it", (line) => {
    const { stream, heard, feed } = open();
    feed(line);
    expect(heard).toEqual([]);
    expect(stream.closed).toBe(true);
  });

  it("ends with a peer whose line never ends", () => {
    const { stream, feed } = open();
    for (let sent = 0; sent < 5; sent++) feed("x".repeat(1024 * 1024));
    expect(stream.closed).toBe(true);
  });

  it("never fails, whatever comes", () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (chunks) => {
        const { feed } = open();
        for (const chunk of chunks) feed(chunk);
      }),
    );
  });

  it("does not heap up what a peer does not read", () => {
    const { stream, channel } = open();
    stream.writableLength = 9 * 1024 * 1024;
    channel.send({ hello: "a" });
    expect(stream.written).toEqual([]);
    expect(stream.closed).toBe(true);
  });

  it("tells its end once, and says nothing after it", () => {
    const { stream, channel, closed } = open();
    channel.close();
    channel.close();
    channel.send({ hello: "a" });
    expect([closed(), stream.written]).toEqual([1, []]);
  });
});
