import { describe, expect, it } from "vitest";
import { parseKind, parseReference } from "./reference.ts";

describe("kinds on the command line", () => {
  it.each([
    ["export", "ServiceExport"],
    ["serviceexports", "ServiceExport"],
    ["Imports", "ServiceImport"],
    ["svc", "Service"],
    ["egress", "EgressPolicy"],
  ])("takes %s for %s", (word, kind) => {
    expect(parseKind(word)).toEqual({ ok: true, value: kind });
  });

  it("proposes the nearest word for one that it does not know", () => {
    const parsed = parseKind("exprots");
    expect(parsed.ok ? "" : parsed.error.detail).toBe("there is no kind exprots; did you mean exports?");
  });
});

describe("names on the command line", () => {
  it.each([
    ["ServiceExport", "east/shop/cart", { cluster: "east", namespace: "shop", name: "cart" }],
    ["ServiceExport", "shop/cart", { namespace: "shop", name: "cart" }],
    ["ServiceImport", "cart.shop", { namespace: "shop", name: "cart" }],
    ["Service", "cart", { name: "cart" }],
    ["EgressPolicy", "west/shopping", { cluster: "west", name: "shopping" }],
    ["EgressPolicy", "shopping", { name: "shopping" }],
    ["Cluster", "east", { name: "east" }],
  ] as const)("reads a %s named %s", (kind, text, reference) => {
    expect(parseReference(kind, text)).toEqual({ ok: true, value: reference });
  });

  it.each([
    ["ServiceExport", "a/b/c/d"],
    ["ServiceExport", "east//cart"],
    ["Cluster", "east/shop"],
    ["EgressPolicy", "a/b/c"],
  ] as const)("does not read a %s named %s", (kind, text) => {
    expect(parseReference(kind, text).ok).toBe(false);
  });
});
