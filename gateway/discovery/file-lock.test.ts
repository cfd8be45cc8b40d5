import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ok } from "../../federation/model/result.ts";
import { createManualClock, eventually, settle } from "../../test/fakes/manual-clock.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { systemClock } from "../process/clock.ts";
import { withFileLock } from "./file-lock.ts";

const tempDir = useTempDirs();

describe("withFileLock", () => {
  it("lets one in at a time and leaves nothing behind", async () => {
    const dir = tempDir();
    const path = join(dir, "x.lock");
    let inside = 0;
    let most = 0;
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        withFileLock(path, { clock: systemClock }, async () => {
          most = Math.max(most, ++inside);
          await settle(1);
          inside--;
          return ok(index);
        }),
      ),
    );
    expect(most).toBe(1);
    expect(results).toEqual(results.map((_, index) => ok(index)));
    expect(readdirSync(dir)).toEqual([]);
  });

  it("takes over at once from a process of this machine that died", async () => {
    const path = join(tempDir(), "x.lock");
    writeFileSync(path, `4711 ${hostname()} some-token`);
    const clock = createManualClock();
    expect(await withFileLock(path, { clock, alive: () => false }, async () => ok("in"))).toEqual(ok("in"));
  });

  it.each([
    ["lives", `4711 ${hostname()} token`, true],
    ["is of another machine", "4711 elsewhere token", false],
  ])(
    "takes over from a holder that %s only after ten seconds of the same holder",
    async (_, holder, lives) => {
      const path = join(tempDir(), "x.lock");
      writeFileSync(path, holder);
      const clock = createManualClock();
      let entered = false;
      const done = withFileLock(path, { clock, alive: () => lives }, async () => {
        entered = true;
        return ok(undefined);
      });
      const start = clock.now();
      while (!entered) {
        await eventually(() => entered || clock.pending > 0);
        if (!entered) clock.advance(900);
      }
      expect(clock.now() - start).toBe(11 * 900 + 900);
      expect((await done).ok).toBe(true);
    },
  );

  it("releases the lock when the work fails", async () => {
    const dir = tempDir();
    const path = join(dir, "x.lock");
    const failed = withFileLock(path, { clock: systemClock }, async () => {
      throw Object.assign(new Error("disk"), { code: "ENOSPC" });
    });
    expect(await failed).toMatchObject({ ok: false, error: { name: "disk_full" } });
    expect(readdirSync(dir)).toEqual([]);
  });

  it("does not remove a lock that another process took over meanwhile", async () => {
    const path = join(tempDir(), "x.lock");
    await withFileLock(path, { clock: systemClock }, async () => {
      writeFileSync(path, "1 elsewhere other");
      return ok(undefined);
    });
    expect(readFileSync(path, "utf8")).toBe("1 elsewhere other");
  });

  it("says which directory is missing", async () => {
    const path = join(tempDir(), "gone", "x.lock");
    const answer = await withFileLock(path, { clock: systemClock }, async () => ok(undefined));
    expect(answer).toMatchObject({ ok: false, error: { name: "state_unusable" } });
  });
});
