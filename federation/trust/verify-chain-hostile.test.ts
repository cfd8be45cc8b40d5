import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bundleOf, createTestCa, createTestFederation } from "../../test/fakes/pki.ts";
import { indexBundles } from "./bundle-index.ts";
import { encodeDer, octetString, sequence, tagged, taggedBytes } from "./der-write.ts";
import { verifyChain } from "./verify-chain.ts";

const NOW = Date.UTC(2026, 10, 1, 12);
const federation = createTestFederation("demo.mesh", ["east"], NOW);
const { index } = federation;
const east = federation.cluster("east");

function codeOf(result: ReturnType<typeof verifyChain>): string {
  return result.ok ? "accepted" : result.error.name;
}

describe("a chain from a stranger", () => {
  const cart = federation.credential("east", "shop", "cart");

  it("is refused when any byte of any certificate was changed", () => {
    const which = fc.nat(cart.chainDer.length - 1);
    fc.assert(
      fc.property(
        which,
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        fc.integer({ min: 1, max: 255 }),
        (n, at, flip) => {
          const chain = cart.chainDer.map((der) => Buffer.from(der));
          const der = chain[n]!;
          const offset = Math.floor(at * der.length);
          der[offset] = der[offset]! ^ flip;
          expect(verifyChain(chain, index, NOW).ok).toBe(false);
        },
      ),
      { numRuns: 1500 },
    );
  });

  it("is refused when bytes are cut out or put in", () => {
    const leaf = cart.chainDer[0]!;
    const at = fc.nat(leaf.length - 1);
    fc.assert(
      fc.property(at, at, fc.uint8Array({ minLength: 1, maxLength: 8 }), (from, to, extra) => {
        const [low, high] = [Math.min(from, to), Math.max(from, to) + 1];
        const cut = Buffer.concat([leaf.subarray(0, low), leaf.subarray(high)]);
        const grown = Buffer.concat([leaf.subarray(0, low), extra, leaf.subarray(low)]);
        expect(verifyChain([cut, cart.chainDer[1]!], index, NOW).ok).toBe(false);
        expect(verifyChain([grown, cart.chainDer[1]!], index, NOW).ok).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  it("is refused, and never throws, as random bytes", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (chain) => {
        expect(verifyChain(chain, index, NOW).ok).toBe(false);
      }),
      { numRuns: 500 },
    );
  });

  it("is judged within 50 ms, whatever names and constraints it is stuffed with", () => {
    const subtrees = (n: number) =>
      encodeDer(
        sequence(
          tagged(0, ...Array.from({ length: n }, (_, i) => sequence(taggedBytes(6, Buffer.from(`h${i}`))))),
        ),
      );
    const stuffed = createTestCa({
      trustDomain: east.trustDomain,
      now: NOW,
      overrides: { extra: [{ oid: "2.5.29.30", critical: true, value: subtrees(700) }] },
    });
    const bundles = indexBundles([bundleOf(east.trustDomain, stuffed.certificateDer)]);
    const dnsSans = Array.from({ length: 1000 }, (_, i) => `n${i}`);
    const leaf = federation.credential("east", "shop", "cart", { signedBy: stuffed, dnsSans });
    const began = performance.now();
    expect(codeOf(verifyChain(leaf.chainDer, bundles, NOW))).not.toBe("accepted");
    expect(performance.now() - began).toBeLessThan(50);
  });

  it("cannot nest deeper than its reader, which does not recurse", () => {
    let nested = sequence();
    for (let depth = 0; depth < 1000; depth++) nested = sequence(nested);
    expect(
      codeOf(verifyChain([encodeDer(nested), encodeDer(octetString(Buffer.alloc(9)))], index, NOW)),
    ).toBe("peer_certificate_profile");
  });
});
