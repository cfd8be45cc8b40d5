/**
 * Decodes bytes as latin1, one character per byte, so that obs-text survives the way in and out. `latin1Slice` is what
 * `toString("latin1", …)` ends in; called directly it saves a fifth of the cost of a head.
 */
interface Latin1Source {
  latin1Slice(start: number, end: number): string;
}

export function latin1(buffer: Buffer, start: number, end: number): string {
  return (buffer as unknown as Latin1Source).latin1Slice(start, end);
}
