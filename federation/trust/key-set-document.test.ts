import { describe, expect, test } from "vitest";
import { unwrap } from "../../test/fakes/pki.ts";
import { createRoot, loadRoot, localRootSigner } from "./root.ts";
import { signKeySet, verifyKeySet } from "./key-set-document.ts";
import { createSigningKey, loadSigningKey } from "./signing-key.ts";

const NOW = Date.parse("2026-11-01T00:00:00Z");
const rootOf = (federation: string) =>
  localRootSigner(unwrap(loadRoot(createRoot({ federation, now: NOW }))));
const root = rootOf("demo.mesh");
const roots = [root.certificateDer.toString("base64")];
const key = unwrap(loadSigningKey(createSigningKey().privateKeyPem));
const keys = [{ kid: key.kid, x: String(key.publicJwk.x) }];
const set = { federation: "demo.mesh", sequence: NOW, keys };
const expected = { federation: "demo.mesh", roots };

describe("a set of snapshot keys", () => {
  test("is what the root signed", async () => {
    const found = unwrap(verifyKeySet(await signKeySet(set, root), expected));
    expect(found).toEqual({ sequence: NOW, keys: { keys: [{ ...key.publicJwk }] } });
    // Another root among those that are held does no harm.
    const other = rootOf("demo.mesh").certificateDer.toString("base64");
    const both = { ...expected, roots: [other, ...roots] };
    expect(verifyKeySet(await signKeySet(set, root), both).ok).toBe(true);
  });

  test("is refused where another root signed it, it is of another federation, or anything was changed", async () => {
    const text = await signKeySet(set, root);
    const reason = (changed: string) => {
      const verdict = verifyKeySet(changed, expected);
      return verdict.ok ? "accepted" : verdict.error.detail;
    };
    expect(reason(await signKeySet(set, rootOf("demo.mesh")))).toMatch(/not signed by the root/);
    expect(reason(await signKeySet({ ...set, federation: "other.mesh" }, root))).toMatch(/not of demo.mesh/);
    expect(reason(await signKeySet({ ...set, keys: [] }, root))).toMatch(/one to 8 keys/);
    expect(reason(await signKeySet({ ...set, keys: Array(9).fill(keys[0]) as typeof keys }, root))).toMatch(
      /one to 8/,
    );
    expect(reason(await signKeySet({ ...set, sequence: -1 }, root))).toMatch(/seq/);
    for (let at = 0; at < text.length; at += 7) {
      const changed = text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1);
      expect(reason(changed), String(at)).not.toBe("accepted");
    }
    expect(verifyKeySet(text, { ...expected, roots: [] }).ok).toBe(false);
  });
});
