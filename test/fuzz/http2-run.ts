/**
 * Fuzzes our HTTP/2: `npm run fuzz:http2 -- --rounds 1000 --seed 7`. A round is 40 connections of random frames and 40 random
 * messages each way with node:http2. Exit code 1 and the seed of the round where something went wrong.
 */
import { surviveFrames } from "./http2-frames.ts";
import { anyMessage, askNode, askUs, difference } from "./http2-peers.ts";
import { Random } from "./random.ts";
import { toolOptions } from "../tool-options.ts";

const { rounds, seed: first } = toolOptions("npm run fuzz:http2 --", { rounds: 200, seed: Date.now() });

const PER_ROUND = 40;

async function round(seed: number): Promise<readonly string[]> {
  const random = new Random(seed);
  const wrong = Array.from({ length: PER_ROUND }, () => surviveFrames(random));
  const sent = Array.from({ length: PER_ROUND }, () => anyMessage(random));
  for (const ask of [askNode, askUs]) {
    const got = await ask(sent);
    wrong.push(...sent.map((message, at) => difference(message, got[at])));
  }
  return wrong.filter((found) => found !== undefined);
}

const began = performance.now();
let failures = 0;
for (let at = 0; at < rounds && failures < 10; at++) {
  for (const wrong of await round(first + at)) {
    failures += 1;
    console.error(`seed ${first + at}: ${wrong}`);
  }
}
const seconds = ((performance.now() - began) / 1000).toFixed(1);
const each = rounds * PER_ROUND;
console.log(
  `seed ${first}: ${each} connections of random frames, ${2 * each} messages with node:http2, ${failures} failures in ${seconds} s`,
);
process.exitCode = failures === 0 ? 0 : 1;
