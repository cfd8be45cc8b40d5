/** The static Huffman code of HPACK (RFC 7541 §5.2, Appendix B). */

/**
 * Bits of each symbol's code; symbol 256 is EOS. The code is canonical (within one length, codes ascend with the symbols), so the
 * lengths are all of it.
 */
// biome-ignore format: a table
const CODE_BITS: readonly number[] = [
  13,23,28,28,28,28,28,28,28,24,30,28,28,30,28,28,28,28,28,28,28,28,30,28,28,28,28,28,28,28,28,28,
  6,10,10,12,13,6,8,11,10,10,8,11,8,6,6,6,5,5,5,6,6,6,6,6,6,6,7,8,15,6,12,10,
  13,6,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,8,7,8,13,19,13,14,6,
  15,5,6,5,6,5,6,6,6,5,7,7,6,6,6,5,6,7,6,5,5,6,7,7,7,7,7,15,11,14,13,28,
  20,22,20,20,22,22,22,23,22,23,23,23,23,23,24,23,24,24,22,23,24,23,23,23,23,21,22,23,22,23,23,24,
  22,21,20,22,22,23,23,21,23,22,22,24,21,22,23,23,21,21,22,21,23,22,23,23,20,22,22,22,23,22,22,23,
  26,26,20,19,22,23,22,25,26,26,26,27,27,26,24,25,19,21,26,27,27,26,27,24,21,21,26,26,28,27,27,27,
  20,24,20,21,22,21,21,23,22,22,25,25,24,24,26,23,26,27,26,26,27,27,27,27,27,28,27,27,27,27,27,26,
  30,
];

const EOS = 256;

/**
 * The code as a machine that eats four bits at a time. State s on nibble n: `STEP[s * 16 + n]` holds the next state in the low
 * 12 bits, the symbol it completes in bits 12-19 if bit 20 is set, and bit 21 for a step into EOS, which is an error.
 * (The shortest code has 5 bits, so a nibble completes at most one symbol.)
 */
const HAS_SYMBOL = 1 << 20;
const FAILS = 1 << 21;
/** Whether the input may end in a state: at most 7 bits of padding, all ones (RFC 7541 §5.2). */
const { STEP, MAY_END } = buildMachine();

function buildMachine(): { readonly STEP: Uint32Array; readonly MAY_END: Uint8Array } {
  const { left, right } = buildTree();
  // Inner nodes of the code's tree are the states; a leaf is written as ~symbol.
  const states = left.length;
  const step = new Uint32Array(states * 16);
  for (let state = 0; state < states; state++) {
    for (let nibble = 0; nibble < 16; nibble++) step[state * 16 + nibble] = walk(left, right, state, nibble);
  }
  const mayEnd = new Uint8Array(states);
  let node = 0;
  for (let ones = 0; ones <= 7; ones++) {
    mayEnd[node] = 1;
    node = right[node] ?? 0;
  }
  return { STEP: step, MAY_END: mayEnd };
}

function walk(left: readonly number[], right: readonly number[], from: number, nibble: number): number {
  let node = from;
  let symbol = 0;
  for (let bit = 3; bit >= 0; bit--) {
    const next = ((nibble >> bit) & 1) === 0 ? left[node] : right[node];
    if (next === undefined) return FAILS;
    if (next >= 0) {
      node = next;
      continue;
    }
    if (~next === EOS) return FAILS;
    symbol = HAS_SYMBOL | (~next << 12);
    node = 0;
  }
  return symbol | node;
}

function buildTree(): { readonly left: number[]; readonly right: number[] } {
  const left: number[] = [0];
  const right: number[] = [0];
  const symbols = CODE_BITS.map((bits, symbol) => ({ bits, symbol }));
  symbols.sort((a, b) => a.bits - b.bits || a.symbol - b.symbol);
  let code = 0;
  let length = 0;
  for (const { bits, symbol } of symbols) {
    code *= 2 ** (bits - length);
    length = bits;
    let node = 0;
    for (let bit = bits - 1; bit > 0; bit--) {
      const side = Math.floor(code / 2 ** bit) % 2 === 0 ? left : right;
      if (side[node] === 0 || side[node] === undefined) {
        side[node] = left.length;
        left.push(0);
        right.push(0);
      }
      node = side[node] ?? 0;
    }
    (code % 2 === 0 ? left : right)[node] = ~symbol;
    code += 1;
  }
  return { left, right };
}

/** Decodes `[start, end)` into `target`, which must have room for 8/5 as many bytes; returns the length, or -1 for a bad code. */
export function decodeHuffman(buffer: Buffer, start: number, end: number, target: Buffer): number {
  let state = 0;
  let length = 0;
  for (let at = start; at < end; at++) {
    const octet = buffer[at] ?? 0;
    const high = STEP[state * 16 + (octet >> 4)] ?? FAILS;
    if ((high & FAILS) !== 0) return -1;
    if ((high & HAS_SYMBOL) !== 0) target[length++] = (high >> 12) & 0xff;
    const low = STEP[(high & 0xfff) * 16 + (octet & 15)] ?? FAILS;
    if ((low & FAILS) !== 0) return -1;
    if ((low & HAS_SYMBOL) !== 0) target[length++] = (low >> 12) & 0xff;
    state = low & 0xfff;
  }
  return MAY_END[state] === 1 ? length : -1;
}
