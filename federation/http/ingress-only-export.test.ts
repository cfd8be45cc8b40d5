import { expect, test } from "vitest";
import { exportOf, openRegistryScene } from "../../test/fakes/registry-scene.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";

const directory = useTempDirs();

test("a snapshot tells the ports of what only callers from outside reach: HTTP/2 is offered by what they were declared as", async () => {
  const { join, apply, snapshot, send } = await openRegistryScene({ directory: directory() });
  const east = await join("east");
  const cart = { namespace: "shop", name: "cart" };
  const ports = [{ port: 80, protocol: "http", appProtocol: "kubernetes.io/h2c" }];
  const body = { services: [{ ...cart, ports }] };
  await send("PUT", "/v1/clusters/east/services", { as: east.credential(), body });
  const exported = exportOf("east", "cart");
  if (exported.kind !== "ServiceExport") throw new Error("not an export");
  expect((await snapshot(east)).exports).toEqual([]);
  const ingress = [{ hostnames: ["a.example"], port: 80, tls: { certificateRef: { name: "site" } } }];
  await apply({ ...exported, spec: { consumers: [], ingress } });
  expect((await snapshot(east)).exports).toEqual([{ ...cart, ports, consumers: [] }]);
});
