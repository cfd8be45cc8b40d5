import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ISTHMUS, run } from "../fakes/federation.ts";
import { freePort } from "../fakes/free-ports.ts";
import { addressOf } from "../fakes/http-wire.ts";
import { describeAnswer, requestOnce } from "../fakes/load.ts";
import { until } from "../fakes/until.ts";
import { startHttpWorkload, type Workload } from "../fakes/workloads.ts";
import { blocksOf } from "./markdown.ts";

const blocks = blocksOf(readFileSync(new URL("../../README.md", import.meta.url), "utf8"));
const files = blocks.flatMap(({ mark = "", text }) =>
  mark.startsWith("file: ") ? [{ name: mark.slice("file: ".length), text }] : [],
);
const script = blocks.flatMap(({ mark, text }) => (mark === "job" ? [text] : [])).join("\n");
const DONE = "the script is done";

/** Pasted by a person, each line is typed when the one before it is done; a started server has to be waited for. */
function asScript(text: string): string {
  const waiting = text.replace(
    /^(.*--listen (\S+):(\d+).*) &$/gm,
    "$1 & until (exec 3<>/dev/tcp/$2/$3) 2>/dev/null; do sleep 0.1; done",
  );
  return [
    "set -euo pipefail",
    `PATH="$PWD/bin:$PATH"`,
    "trap 'kill $(jobs -p)' EXIT",
    waiting,
    `echo "${DONE}"`,
    // Until the test closes it.
    "cat > /dev/null",
  ].join("\n");
}

describe("the three jobs of the README, as they stand there", () => {
  const directory = mkdtempSync(join(tmpdir(), "isthmus-readme-"));
  let cart: Workload;
  let next: Workload;
  let shell: ChildProcess;
  let out = "";

  beforeAll(async () => {
    [cart, next] = [await startHttpWorkload(), await startHttpWorkload()];
    const ports = new Map([
      ["9003", String(addressOf(cart.address).port)],
      ["9004", String(addressOf(next.address).port)],
    ]);
    for (const port of ["7070", "15008", "15018"]) ports.set(port, String(await freePort()));
    const translate = (text: string) =>
      text.replace(/127\.0\.0\.1:(\d+)/g, (whole, port: string) =>
        whole.replace(port, ports.get(port) ?? port),
      );
    for (const folder of [".isthmus", "bin"]) mkdirSync(join(directory, folder));
    // A program, not a function of the shell, which would stand between a signal and what it is for.
    const program = `#!/bin/sh\nexec "${process.execPath}" "${ISTHMUS}" "$@"\n`;
    writeFileSync(join(directory, "bin", "isthmus"), program, { mode: 0o755 });
    for (const { name, text } of files) writeFileSync(join(directory, name), translate(text));
    shell = spawn("bash", ["-c", asScript(translate(script))], {
      cwd: directory,
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, NO_COLOR: "1" },
    });
    shell.stdout?.setEncoding("utf8").on("data", (text: string) => {
      out += text;
    });
    let err = "";
    shell.stderr?.setEncoding("utf8").on("data", (text: string) => {
      err += text;
    });
    await until("the script is done", 60_000, () => {
      if (shell.exitCode !== null) throw new Error(`the script ended with ${shell.exitCode}\n${out}\n${err}`);
      return out.includes(DONE) ? true : undefined;
    });
  }, 70_000);
  afterAll(async () => {
    if (shell.exitCode === null) {
      shell.stdin?.end();
      await once(shell, "close");
    }
    await cart.stop();
    await next.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  test("lead to a call that works for the permitted workload only", async () => {
    const at = (workload: string) =>
      addressOf(new RegExp(`ns/shop/sa/${workload} +cart\\.shop:80 +(\\S+)`).exec(out)?.[1] ?? "");
    expect(describeAnswer(await requestOnce(at("web")))).toBe("200");
    expect(describeAnswer(await requestOnce(at("batch")))).toMatch(/^403 ISTH-200[12]$/);
  });

  test("send a tenth of the requests, and those that ask for it, to the next version", async () => {
    const web = addressOf(/ns\/shop\/sa\/web +cart\.shop:80 +(\S+)/.exec(out)?.[1] ?? "");
    const before = next.seen.length;
    for (let turn = 0; turn < 50; turn++) await requestOnce(web);
    const drawn = next.seen.length - before;
    // The sequence of draws keeps within one of the share, wherever in it the fifty begin.
    expect(Math.abs(drawn - 5)).toBeLessThanOrEqual(1);
    await requestOnce(web, { field: "x-canary: yes" });
    expect(next.seen.length - before).toBe(drawn + 1);
    expect(out).toMatch(/west +shop +cart +(Accepted|ResolvedRefs)/);
  });

  test("let check find everything well", () => {
    expect(out).toContain("all is well");
  });

  test("end with an egress policy that enforces", () => {
    expect(out).toMatch(/west +shopping +enforce/);
  });

  test("have a federation.yaml that isthmus up accepts", async () => {
    const dry = await run(["up", "-f", "federation.yaml", "--dry-run"], { cwd: directory });
    expect(dry, dry.err).toMatchObject({ code: 0 });
  });
});
