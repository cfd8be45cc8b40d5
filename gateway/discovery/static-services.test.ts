import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createManualClock, eventually, settle } from "../../test/fakes/manual-clock.ts";
import { createMemoryLog } from "../../test/fakes/memory-log.ts";
import { unwrap } from "../../test/fakes/pki.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { openStaticServices, readStaticCluster } from "./static-services.ts";

const tempDir = useTempDirs();

function yaml(...workloads: string[]): string {
  const items = workloads.map((name) => `    - { namespace: shop, name: ${name} }\n`).join("");
  return `apiVersion: isthmus.dev/v1alpha1\nkind: StaticCluster\nmetadata: { name: east }\nspec:\n  workloads:\n${items}`;
}

async function scene() {
  const path = join(tempDir(), "services.yaml");
  writeFileSync(path, yaml("web"));
  const clock = createManualClock();
  const log = createMemoryLog();
  let touch = (): void => {};
  const services = unwrap(
    await openStaticServices({
      path,
      clock,
      log,
      watchDirectory: (_, onChange) => {
        touch = onChange;
        return () => {};
      },
    }),
  );
  const names = () => services.cluster.current.spec.workloads.map(({ name }) => name);
  const advance = async (ms: number): Promise<void> => {
    clock.advance(ms);
    await settle(30);
  };
  /** Polls until the file has been read and the names are these; a poll that comes while a reading is under way is none. */
  const become = async (...expected: readonly string[]): Promise<void> => {
    await eventually(() => {
      if (names().join() === expected.join()) return true;
      clock.advance(5000);
      return false;
    });
  };
  const refusals = () => log.of("services_file_refused");
  return { path, clock, log, services, names, advance, become, refusals, touch: () => touch() };
}

describe("openStaticServices", () => {
  it("publishes a good edit soon after the last of its steps", async () => {
    const { path, names, advance, touch } = await scene();
    writeFileSync(path, "half of");
    touch();
    await advance(10);
    writeFileSync(path, yaml("web", "batch"));
    touch();
    await advance(10);
    expect(names()).toEqual(["web"]);
    await advance(10);
    await eventually(() => names().join() === "web,batch");
  });

  it("notices a replaced file even where the file system tells nothing", async () => {
    const { path, become } = await scene();
    writeFileSync(`${path}.new`, yaml("batch"));
    renameSync(`${path}.new`, path);
    await become("batch");
  });

  it("keeps the last good state at a bad edit and names file, line and field once", async () => {
    const { path, names, advance, become, touch, refusals } = await scene();
    writeFileSync(path, `${yaml("web", "batch")}  gatewys: []\n`);
    touch();
    await advance(20);
    await eventually(() => refusals().length > 0);
    for (let turn = 0; turn < 5; turn++) await advance(5000);
    expect(names()).toEqual(["web"]);
    expect(refusals()).toMatchObject([
      { code: "ISTH-6001", file: path, line: 8, path: "spec.gatewys", suggestion: "gateways" },
    ]);
    writeFileSync(path, yaml("batch"));
    await become("batch");
  });

  it("keeps the last good state while the file is gone, and tells each time it goes", async () => {
    const { path, names, clock, advance, become, refusals } = await scene();
    for (const times of [1, 2]) {
      rmSync(path);
      clock.advance(5000);
      await eventually(() => refusals().length === times);
      await advance(5000);
      expect(names()).toEqual([times === 1 ? "web" : "batch"]);
      expect(refusals()).toHaveLength(times);
      writeFileSync(path, yaml("batch"));
      await advance(5000);
      await become("batch");
    }
    expect(refusals()[0]).toMatchObject({ code: "ISTH-6002" });
  });

  it("publishes nothing when only the spelling changed", async () => {
    const { path, services, advance, touch } = await scene();
    const before = services.cluster.current;
    writeFileSync(path, `# a comment\n${yaml("web")}`);
    touch();
    await advance(20);
    expect(services.cluster.current).toBe(before);
  });

  it("leaves nothing behind when stopped", async () => {
    const { services, clock, touch } = await scene();
    services.stop();
    touch();
    expect(clock.pending).toBe(0);
  });

  it("watches a real directory", async () => {
    const path = join(tempDir(), "services.yaml");
    writeFileSync(path, yaml("web"));
    const clock = createManualClock();
    const services = unwrap(await openStaticServices({ path, clock, log: createMemoryLog() }));
    const seen = new Promise((resolve) => services.cluster.subscribe(resolve));
    writeFileSync(path, yaml("batch"));
    // The change turns the timer from the poll, 5 s away, to the 20 ms in which an edit settles.
    await eventually(() => clock.nextInMs() === 20);
    clock.advance(20);
    expect(await seen).toMatchObject({ spec: { workloads: [{ name: "batch" }] } });
    services.stop();
  });
});

describe("readStaticCluster", () => {
  it("tells a missing file, a directory and a file that is too large from a wrong one", async () => {
    const dir = tempDir();
    expect(await readStaticCluster(join(dir, "none.yaml"))).toMatchObject({
      ok: false,
      error: { name: "file_unreadable", detail: expect.stringContaining("does not exist") },
    });
    mkdirSync(join(dir, "folder.yaml"));
    expect(await readStaticCluster(join(dir, "folder.yaml"))).toMatchObject({
      ok: false,
      error: { name: "file_unreadable" },
    });
    writeFileSync(join(dir, "huge.yaml"), "#".repeat(4 * 1024 * 1024 + 1));
    expect(await readStaticCluster(join(dir, "huge.yaml"))).toMatchObject({
      ok: false,
      error: { name: "file_invalid", detail: expect.stringContaining("larger than") },
    });
    writeFileSync(join(dir, "wrong.yaml"), "kind: Wrong\n");
    expect(await readStaticCluster(join(dir, "wrong.yaml"))).toMatchObject({
      ok: false,
      error: { name: "file_invalid", detail: expect.stringMatching(/has \d mistakes$/) },
    });
  });
});
