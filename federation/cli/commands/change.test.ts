import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import type { AppliedResource } from "../../model/resource.ts";
import { restoreCommand } from "./change.ts";

const route: AppliedResource = {
  apiVersion: "isthmus.dev/v1alpha1",
  kind: "TrafficRoute",
  metadata: { cluster: "west", namespace: "shop", name: "cart", resourceVersion: 7 },
  spec: {
    parentRefs: [{ name: "cart" }],
    rules: [
      { matches: [{ headers: [{ name: "x", type: "RegularExpression", value: "it's; $(id) \\d+ `id`" }] }] },
    ],
  },
};

describe("the command that undoes a change", () => {
  it("writes back what was there, whatever quotes and patterns it holds", () => {
    const command = restoreCommand(route, "cat # ");
    const written: unknown = JSON.parse(execFileSync("/bin/sh", ["-c", command], { encoding: "utf8" }));
    const { resourceVersion: _version, ...metadata } = route.metadata;
    expect(written).toEqual({ ...route, metadata });
  });
});
