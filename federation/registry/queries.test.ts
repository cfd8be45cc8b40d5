import { expect, test } from "vitest";
import { unwrap } from "../../test/fakes/pki.ts";
import { openRegistryScene } from "../../test/fakes/registry-scene.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { listResources } from "./queries.ts";

const directory = useTempDirs();

test("lists clusters by name, whichever was registered first", async () => {
  const { registry } = await openRegistryScene({ directory: directory() });
  for (const name of ["west", "north", "east"]) unwrap(await registry.register("ops", name, false));
  expect(unwrap(await registry.clusterStatuses()).map(({ name }) => name)).toEqual(["east", "north", "west"]);
  expect(listResources(registry.state, { kind: "Cluster" }).map(({ metadata }) => metadata.name)).toEqual([
    "east",
    "north",
    "west",
  ]);
});
