import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { tableOf } from "../fakes/dynamodb-local.ts";
import { dynamoDbMissing } from "../fakes/dynamodb-missing.ts";
import { type RuntimeServer, startRuntime } from "../fakes/runtime-servers.ts";
import type { SceneRuntime } from "../fakes/scene-runtime.ts";
import { useTempDirs } from "../fakes/temp-dir.ts";
import { until } from "../fakes/until.ts";

const PROGRAM = new URL("../../federation/cli/bin/isthmus.cjs", import.meta.url).pathname;
const missing = dynamoDbMissing();
const RUNTIMES: readonly SceneRuntime[] = [
  "node-sqlite",
  "node-dynamodb",
  "lambda-dynamodb",
  "workerd-dynamodb",
];

const directory = useTempDirs();
const running: ChildProcess[] = [];
let server: RuntimeServer | undefined;
afterEach(async () => {
  for (const child of running.splice(0)) child.kill("SIGKILL");
  await server?.stop();
  server = undefined;
});

function start(args: readonly string[], env: Readonly<Record<string, string>>): ChildProcess {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.push(child);
  return child;
}

async function run(args: readonly string[], env: Readonly<Record<string, string>>) {
  const child = start(args, env);
  let output = "";
  child.stdout?.on("data", (chunk) => (output += String(chunk)));
  child.stderr?.on("data", (chunk) => (output += String(chunk)));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, output };
}

test.each(RUNTIMES)(
  "`isthmus check` passes on %s, from a stock gateway",
  { timeout: 120_000 },
  async (runtime) => {
    if (runtime !== "node-sqlite" && missing !== undefined) return console.warn(`${runtime}: ${missing}`);
    const path = directory();
    server = await startRuntime(runtime, join(path, "registry"), () => tableOf(path));
    const tokenFile = join(path, "operator.token");
    writeFileSync(tokenFile, server.token, { mode: 0o600 });
    const env = { ISTHMUS_REGISTRY: server.url, ISTHMUS_TOKEN_FILE: tokenFile };
    const registered = await run(["cluster", "register", "east"], env);
    expect(registered.code, registered.output).toBe(0);
    const joinToken = join(path, "join.token");
    writeFileSync(joinToken, /^[\w-]+\.[\w-]+\.[\w-]+$/m.exec(registered.output)?.[0] ?? "", { mode: 0o600 });
    const state = join(path, "east");
    const joined = await run(
      ["cluster", "join", "east", "--join-token-file", joinToken, "--state", state],
      env,
    );
    expect(joined.code, joined.output).toBe(0);
    start(["gateway", "--state", state, "--member", "gateway-1", "--listen", "127.0.0.1:0"], {});
    let checked = { code: null as number | null, output: "" };
    await until("check passes", 60_000, async () => {
      checked = await run(["check"], env);
      return checked.code === 0 ? true : undefined;
    }).catch(() => {});
    expect(checked.code, checked.output).toBe(0);
    expect(checked.output).toMatch(/gateway-1 is up to date/);
  },
);
