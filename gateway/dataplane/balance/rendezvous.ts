// FNV-1a, then a finalizer: FNV alone changes too few bits of the result where two keys differ only at their end.
const FNV_OFFSET = 0x81_1c_9d_c5;
const FNV_PRIME = 0x01_00_01_93;

/** 32 bits of a text, the same in every process: choices made by it survive restarts and need no agreement. */
export function hashText(text: string, seed = 0): number {
  let hash = (FNV_OFFSET ^ seed) >>> 0;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), FNV_PRIME) >>> 0;
  }
  return mix(hash);
}

function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85_eb_ca_6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2_b2_ae_35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/**
 * Highest random weight: every key ranks the candidates in its own order and takes the first. When one goes, only its keys move,
 * evenly to the others; when one comes, it takes only its own part.
 */
export function pickByKey<T>(
  candidates: readonly T[],
  nameOf: (candidate: T) => string,
  key: string,
): T | undefined {
  const seed = hashText(key);
  let best: T | undefined;
  let bestWeight = -1;
  for (const candidate of candidates) {
    const weight = hashText(nameOf(candidate), seed);
    if (weight <= bestWeight) continue;
    best = candidate;
    bestWeight = weight;
  }
  return best;
}
