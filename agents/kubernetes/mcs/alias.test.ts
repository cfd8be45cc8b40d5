import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { SnapshotOffer } from "../../../federation/model/snapshot.ts";
import { AliasIndex } from "../alias-index.ts";
import type { KubeMetadata } from "../api/object.ts";
import { digestImport, type KubeImport } from "../digest/mcs.ts";
import { parseAliasSource } from "./alias.ts";
import { declaredResources } from "./declared.ts";

const NOW = "2026-11-30T00:00:00Z";

const alias = (from: string, rest: Partial<KubeMetadata> = {}): KubeImport => {
  const annotations = { "isthmus.dev/from": from };
  const found = digestImport({ metadata: { namespace: "shop", name: "payments-eu", annotations, ...rest } });
  if (found === undefined) throw new Error("no import");
  return found;
};

const part = fc.oneof(
  fc.stringMatching(/^[a-z0-9-]{1,4}$/),
  fc.stringMatching(/^[a-z0-9]{62,64}$/),
  fc.string({ maxLength: 3 }),
);

describe("what an alias stands for", () => {
  it("is a service of one cluster, or of every cluster that exports it", () => {
    expect(parseAliasSource(" east/billing/payments ")).toEqual({
      cluster: "east",
      namespace: "billing",
      name: "payments",
    });
    expect(parseAliasSource("billing/payments")).toEqual({ namespace: "billing", name: "payments" });
  });

  it("is nothing but names, however it is spelled", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(part).map((words) => words.join("/")),
        ),
        (text) => {
          const source = parseAliasSource(text);
          if (source === undefined) return;
          const words = Object.values(source);
          expect(text.trim()).toBe(words.join("/"));
          for (const word of words) expect(word).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
        },
      ),
    );
  });

  it("finds its aliases, until they say something else", () => {
    const index = new AliasIndex();
    const [one, other] = [alias("east/billing/payments"), alias("shop/cart")];
    expect(index.change("shop/a", one, undefined)).toBe(true);
    expect(index.change("shop/b", one, undefined)).toBe(true);
    expect([...index.of("billing/payments")]).toEqual(["shop/a", "shop/b"]);
    expect(index.change("shop/a", one, one)).toBe(false);
    index.change("shop/a", other, one);
    index.change("shop/b", undefined, one);
    expect([[...index.of("billing/payments")], [...index.of("shop/cart")]]).toEqual([[], ["shop/a"]]);
  });
});

describe("what the registry is told of aliases", () => {
  const offer = (namespace: string, name: string, cluster: string): SnapshotOffer => ({
    namespace,
    name,
    cluster,
    ports: [{ port: 80, protocol: "http" }],
    firstSeen: NOW,
  });
  const shop = { name: "shop", deleting: false, settings: {} };
  const declared = (from: string, offers: readonly SnapshotOffer[], settings = {}, rest = {}) =>
    declaredResources({
      cluster: "west",
      services: new Map(),
      exports: new Map(),
      imports: new Map([["shop/payments-eu", alias(from, rest)]]),
      namespaces: new Map([["shop", { ...shop, settings }]]),
      ownTakesPart: () => true,
      offers,
    }).map(({ metadata, spec }) => ({ metadata, spec }));
  const metadata = { cluster: "west", namespace: "shop", name: "payments-eu" };
  const names = { namespace: "billing", name: "payments" };

  it("is whose export the name means, in place of what others export under it", () => {
    const offers = [offer("shop", "payments-eu", "north"), offer("billing", "payments", "east")];
    const spec = { from: { cluster: "east", ...names } };
    expect(declared("east/billing/payments", offers)).toEqual([{ metadata, spec }]);
    expect(declared("billing/payments", offers)).toEqual([{ metadata, spec }]);
    // Asked for though nobody offers it: the registry can tell why.
    expect(declared("east/billing/payments", [])).toEqual([{ metadata, spec }]);
  });

  it("is every cluster that exports it and is accepted", () => {
    const offers = ["east", "north", "south"].map((each) => offer("billing", "payments", each));
    expect(declared("billing/payments", offers, { "isthmus.dev/import-from": "south,east" })).toEqual([
      { metadata, spec: { from: { cluster: "east", also: ["south"], ...names } } },
    ]);
  });

  it("is nothing where the namespace does not accept it, where it makes no sense or ends, and of this cluster's own", () => {
    const offers = [offer("billing", "payments", "east")];
    expect(declared("east/billing/payments", offers, { "isthmus.dev/import-from": "none" })).toEqual([]);
    const deletionTimestamp = NOW;
    expect(declared("east/billing/payments", offers, {}, { deletionTimestamp })).toEqual([]);
    for (const from of ["payments.billing", "west/billing/payments", "billing/nothing"])
      expect(declared(from, offers)).toEqual([]);
  });
});
