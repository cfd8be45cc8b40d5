import { describe, expect, it } from "vitest";
import { Random } from "../../../test/fuzz/random.ts";
import { TrickleState } from "./trickle-state.ts";

/** Tells it of reads of so many octets each, a hundredth of a millisecond apart, and gives the numbers of those that a pause follows. */
class Peer {
  readonly state = new TrickleState();
  now = 1_000;

  run(...pieces: readonly number[]): number[] {
    this.now += 10;
    const paused: number[] = [];
    for (const [index, bytes] of pieces.entries()) {
      this.now += 0.01;
      const pauseMs = this.state.read(bytes, this.now);
      if (pauseMs === 0) continue;
      paused.push(index + 1);
      this.now += pauseMs;
      this.state.resumed(this.now);
    }
    return paused;
  }
}

const pieces = (count: number, bytes = 150): number[] => Array.from({ length: count }, () => bytes);

describe("a peer that sends in small pieces", () => {
  it("is left alone while its runs are short: an answer in a few pieces is no trickle", () => {
    const peer = new Peer();
    for (let answer = 0; answer < 100; answer++) expect(peer.run(...pieces(5))).toEqual([]);
  });

  it("has a pause after the second read of a run, once there was a long one", () => {
    const peer = new Peer();
    expect(peer.run(...pieces(6))).toEqual([]);
    expect(peer.run(150, 150, 3_000, 150)).toEqual([2]);
    expect(peer.run(150, 150, 3_000, 150)).toEqual([2]);
  });

  it("has further pauses in a run that goes on, every eighth read", () => {
    const peer = new Peer();
    peer.run(...pieces(6));
    expect(peer.run(150, 150, 3_000, ...pieces(7), 3_000, ...pieces(7), 3_000)).toEqual([2, 10, 18]);
  });

  it("has none any more when one brought no more than what came before it", () => {
    const peer = new Peer();
    peer.run(...pieces(6));
    expect(peer.run(150, 150, 300, 150)).toEqual([2]);
    expect(peer.run(...pieces(5))).toEqual([]);
  });

  it("has none any more when nothing came in one", () => {
    const peer = new Peer();
    peer.run(...pieces(6));
    expect(peer.run(150, 150)).toEqual([2]);
    expect(peer.run(4_000, 150)).toEqual([]);
  });

  it("is tried again after the next long run", () => {
    const peer = new Peer();
    peer.run(...pieces(6));
    peer.run(150, 150);
    expect(peer.run(...pieces(6))).toEqual([]);
    expect(peer.run(150, 150, 3_000)).toEqual([2]);
  });

  it("has none when its pieces come one at a time, however many", () => {
    const peer = new Peer();
    peer.run(...pieces(6));
    for (let answer = 0; answer < 100; answer++) expect(peer.run(150)).toEqual([]);
  });

  it("has none when its pieces are large: it waits for us", () => {
    const peer = new Peer();
    peer.run(...pieces(6));
    expect(peer.run(...pieces(100, 65_536))).toEqual([]);
  });

  it("has a pause in vain at most once in six reads, whatever it sends", () => {
    const random = new Random(69);
    const peer = new Peer();
    let reads = 0;
    let inVain = 0;
    for (let run = 0; run < 10_000; run++) {
      const sent = Array.from({ length: random.below(random.pick([4, 30])) }, () => random.below(4_096));
      reads += sent.length;
      // What the last pause brought does not count.
      let since = 0;
      for (const at of peer.run(...sent)) {
        const before = sent.slice(since, at).reduce((sum, bytes) => sum + bytes, 0);
        if ((sent[at] ?? 0) <= before) inVain += 1;
        since = at + 1;
      }
    }
    expect(inVain).toBeGreaterThan(100);
    expect(inVain).toBeLessThanOrEqual(reads / 6 + 1);
  });
});
