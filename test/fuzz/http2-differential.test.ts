import { expect, test } from "vitest";
import { surviveFrames } from "./http2-frames.ts";
import { anyMessage, askNode, askUs, difference, type Message } from "./http2-peers.ts";
import { Random } from "./random.ts";

const messages = (seed: number, count: number): readonly Message[] => {
  const random = new Random(seed);
  return Array.from({ length: count }, () => anyMessage(random));
};

test.each([
  ["we ask and node:http2 answers", askNode],
  ["node:http2 asks and we answer", askUs],
])("60 random messages on one connection come back as they were sent when %s", async (_who, ask) => {
  const sent = messages(1, 60);
  const got = await ask(sent);
  expect(
    sent.map((message, at) => difference(message, got[at])).filter((wrong) => wrong !== undefined),
  ).toEqual([]);
});

test("300 connections of random frames are survived, and everything is let go of", () => {
  const random = new Random(1);
  const wrong = Array.from({ length: 300 }, () => surviveFrames(random)).filter(
    (found) => found !== undefined,
  );
  expect(wrong).toEqual([]);
});
