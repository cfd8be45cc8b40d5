import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, it, onTestFinished } from "vitest";
import { alive } from "./federation.ts";
import { until } from "./until.ts";

const BOUND_CHILD = new URL("./bound-child.ts", import.meta.url).href;

/** A process that has a child, as a test's worker has an API server; `then` is what it does afterwards. */
async function parent(then: string) {
  const source = `
    import { spawn } from "node:child_process";
    import { endWithUs } from "${BOUND_CHILD}";
    const child = spawn("sleep", ["600"], { stdio: "ignore" });
    endWithUs(child);
    console.log(child.pid);
    ${then}`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", source], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(child.stdout.setEncoding("utf8"), "data")) as [string];
  const pid = Number(line);
  onTestFinished(() => {
    child.kill("SIGKILL");
    if (alive(pid)) process.kill(pid, "SIGKILL");
  });
  return { process: child, pid };
}

it("is gone soon after the process that started it was killed, or left without a word", async () => {
  const killed = await parent("setInterval(() => {}, 1_000);");
  expect(alive(killed.pid)).toBe(true);
  killed.process.kill("SIGKILL");
  await until("its child is gone", 10_000, () => (alive(killed.pid) ? undefined : true));
  const left = await parent("process.exit(0);");
  await until("its child is gone", 10_000, () => (alive(left.pid) ? undefined : true));
});

it("keeps nobody from ending", async () => {
  const { process: ended } = await parent("child.unref();");
  expect(await once(ended, "exit")).toEqual([0, null]);
});
