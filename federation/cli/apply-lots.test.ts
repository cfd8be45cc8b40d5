import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AppliedResource } from "../model/resource.ts";
import { err, ok } from "../model/result.ts";
import { MAX_APPLIED, MAX_REQUEST_BYTES } from "../model/wire/api.ts";
import { applyInLots } from "./apply-lots.ts";
import type { RegistryClient } from "./registry-client.ts";

const exported = (name: string, consumers = 1): AppliedResource => ({
  apiVersion: "isthmus.dev/v1alpha1",
  kind: "ServiceExport",
  metadata: { cluster: "east", namespace: "shop", name },
  spec: { consumers: Array.from({ length: consumers }, (_, at) => ({ cluster: `west-${at}` })) },
});

interface Sent {
  readonly names: readonly string[];
  readonly bytes: number;
  readonly dryRun: boolean;
}

/** Remembers what it is sent; refuses lots that hold `bad`, or what comes after so many requests. */
function registryThat({ bad = "", fails = Number.POSITIVE_INFINITY } = {}) {
  const sent: Sent[] = [];
  const apply: RegistryClient["apply"] = async (resources, options = {}) => {
    const names = resources.map(({ metadata }) => metadata.name);
    const { dryRun = false } = options;
    sent.push({ names, bytes: JSON.stringify({ resources, ...options }).length, dryRun });
    if (sent.length > fails) return err({ name: "registry_unreachable", detail: "it is gone" });
    const at = names.indexOf(bad);
    if (at >= 0)
      return err({
        name: "request_invalid",
        detail: "1 mistake",
        issues: [{ path: `resources[${at}].spec.consumers[0]`, message: "is wrong" }],
      });
    const results = resources.map(({ kind, metadata }) => ({ kind, metadata, action: "created" as const }));
    return ok({ revision: sent.length, dryRun, results: results as never });
  };
  return { sent, registry: { apply } as RegistryClient };
}

const many = Array.from({ length: 2_500 }, (_, at) => exported(`s${at}`));

describe("resources beyond what one request takes", () => {
  it("are sent in the order given, each lot within both limits", async () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 2_000 }), { minLength: 1, maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(sizes, async (consumers) => {
        const resources = consumers.map((count, at) => exported(`s${at}`, count));
        const { sent, registry } = registryThat();
        await applyInLots(registry, resources);
        const real = sent.filter(({ dryRun }) => !dryRun);
        expect(real.flatMap(({ names }) => names)).toEqual(resources.map(({ metadata }) => metadata.name));
        for (const { names, bytes } of sent) {
          expect(names.length).toBeLessThanOrEqual(MAX_APPLIED);
          expect(bytes).toBeLessThanOrEqual(MAX_REQUEST_BYTES);
        }
      }),
      { numRuns: 50 },
    );
  });

  it("are one answer, in which every resource has its result", async () => {
    const { sent, registry } = registryThat();
    const answer = await applyInLots(registry, many);
    expect(sent.map(({ names, dryRun }) => [names.length, dryRun])).toEqual([
      ...[1_000, 1_000, 500].map((count) => [count, true]),
      ...[1_000, 1_000, 500].map((count) => [count, false]),
    ]);
    expect(answer).toMatchObject({ ok: true, value: { revision: 6, dryRun: false } });
    expect(answer.ok && answer.value.results.map(({ metadata }) => metadata.name)).toEqual(
      many.map(({ metadata }) => metadata.name),
    );
  });

  it("change nothing when one of the last is wrong, which is named by its place among all", async () => {
    const { sent, registry } = registryThat({ bad: "s2400" });
    expect(await applyInLots(registry, many)).toMatchObject({
      ok: false,
      error: { name: "request_invalid", issues: [{ path: "resources[2400].spec.consumers[0]" }] },
    });
    expect(sent.every(({ dryRun }) => dryRun)).toBe(true);
  });

  it("say how far they came when the registry goes away in between", async () => {
    const { registry } = registryThat({ fails: 5 });
    expect(await applyInLots(registry, many)).toMatchObject({
      ok: false,
      error: { name: "registry_unreachable", detail: expect.stringContaining("the first 2000 resources") },
    });
  });

  it("are tried once only in a dry run, and a single lot is sent at once", async () => {
    const dry = registryThat();
    await applyInLots(dry.registry, many, true);
    expect(dry.sent).toHaveLength(3);
    const small = registryThat();
    await applyInLots(small.registry, many.slice(0, 10));
    expect(small.sent.map(({ dryRun }) => dryRun)).toEqual([false]);
  });
});
