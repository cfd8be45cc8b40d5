import { expect, test } from "vitest";
import { unwrap } from "../../test/fakes/pki.ts";
import { ADMIN_TOKEN, exportOf, openRegistryScene } from "../../test/fakes/registry-scene.ts";
import { IN_PROCESS } from "../../test/fakes/scene-runtime.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { SILENT_LOGGER } from "../model/log.ts";
import { err } from "../model/result.ts";
import { measureStore } from "../registry/measured-store.ts";
import { Registry } from "../registry/registry.ts";
import type { RegistryStore } from "../registry/store.ts";
import { createApp } from "./app.ts";

const directory = useTempDirs();

test.runIf(IN_PROCESS)(
  "a change that its store can never write is the asker's to divide, and no fault of the store",
  async () => {
    const opened = await openRegistryScene({ directory: directory() });
    await opened.register("east");
    const { store } = measureStore(opened.store, () => 0);
    const commit: RegistryStore["commit"] = async () =>
      err({ kind: "too_large", detail: "apply it in parts" });
    const { authority } = opened.registry;
    const registry = unwrap(
      await Registry.open({ store: { ...store, commit }, clock: opened.clock, random: () => 0.5, authority }),
    );
    const app = createApp({ registry, log: SILENT_LOGGER, version: "0" });
    const headers = { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json" };
    const body = JSON.stringify({ resources: [exportOf("east", "cart", "west")] });
    const reply = await app.fetch(
      new Request("http://registry.test/v1/apply", { method: "POST", headers, body }),
    );
    expect(reply.status).toBe(413);
    expect(await reply.json()).toMatchObject({ code: "ISTH-5007", detail: "apply it in parts" });
    expect(registry.writable).toBe(true);
  },
);
