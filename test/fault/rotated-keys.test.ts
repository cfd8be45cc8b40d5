import { afterEach, expect, test } from "vitest";
import { run } from "../fakes/federation.ts";
import { type ProxiedMembers, startProxiedMembers } from "../fakes/proxied-members.ts";
import { until } from "../fakes/until.ts";
import { join } from "node:path";

let members: ProxiedMembers | undefined;
afterEach(() => members?.stop());

test("real gateways follow `registry rotate-key` under load, also one that was away", {
  timeout: 90_000,
}, async () => {
  const scene = await startProxiedMembers();
  members = scene;
  const load = scene.startCalling();
  const rotate = async (...flags: readonly string[]) => {
    const token = join(scene.directory, "registry", "admin.token");
    const args = ["--registry", scene.registry.url, "--token-file", token, ...flags];
    const { code, out, err } = await run(["registry", "rotate-key", ...args]);
    expect(code, err).toBe(0);
    return out;
  };
  expect(await rotate("--dry-run")).toMatch(/active/);
  expect(await rotate()).toMatch(/active[^]*announced/);
  await rotate("--compromised");
  const first = await scene.change();
  await until("west hears of news under the new key", 10_000, () => scene.importedAt(first));
  expect((await scene.status()).discovery).toMatchObject({ connected: true });
  expect((await scene.status()).discovery?.refusedCode).toBeUndefined();
  expect((await load.stop()).filter((answer) => answer !== "200")).toEqual([]);

  await scene.killWest();
  await rotate("--compromised");
  await rotate("--compromised");
  const missed = await scene.change();
  // At first it cannot ask: it serves from what lies on its disk, signed with a key that is void by now.
  scene.proxy.fault = "failing";
  await scene.startWest();
  await until("it serves", 15_000, async () => ((await scene.call()) === "200" ? true : undefined));
  expect(scene.importedAt(missed)).toBeUndefined();
  scene.proxy.fault = "none";
  await until("it comes back by itself", 15_000, () => scene.importedAt(missed));
  expect(await scene.call()).toBe("200");
});
