import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRegistryClient, type RegistryClient } from "../../federation/cli/registry-client.ts";

const ENTRY = new URL("../../federation/runtime/node.ts", import.meta.url).pathname;

export interface RegistryProcess {
  readonly child: ChildProcess;
  readonly url: string;
  readonly token: string;
  readonly client: RegistryClient;
  /** Sends the signal and waits for the end; answers the exit code, `null` when a signal ended it. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

function environment(settings: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  // Compiled once for all starts: what is tried here is not how long a start takes.
  const cache = join(tmpdir(), "isthmus-test-compile-cache");
  return { PATH: process.env["PATH"], NODE_COMPILE_CACHE: cache, ...settings };
}

/** A real registry, started as a supervisor starts it. */
export async function startRegistryProcess(
  stateDir: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<RegistryProcess> {
  const child = fork(ENTRY, {
    env: environment({
      ISTHMUS_STATE_DIR: stateDir,
      ISTHMUS_LISTEN: "127.0.0.1:0",
      ISTHMUS_FEDERATION: "demo.mesh",
      ...settings,
    }),
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  let stderr = "";
  child.stderr?.on("data", (chunk) => (stderr += String(chunk)));
  const exited = once(child, "exit");
  const ready = await Promise.race([once(child, "message"), exited.then(() => [undefined])]);
  const message: unknown = ready[0];
  if (!isReady(message)) throw new Error(`the registry did not start: ${stderr}`);
  const token = readFileSync(message.adminTokenFile, "utf8").trim();
  const url = `http://${message.listen}`;
  return {
    child,
    url,
    token,
    client: createRegistryClient({ url, token }),
    async end(signal) {
      child.kill(signal);
      const [code] = (await exited) as [number | null];
      return code;
    },
  };
}

function isReady(message: unknown): message is { readonly listen: string; readonly adminTokenFile: string } {
  return typeof message === "object" && message !== null && Reflect.get(message, "type") === "ready";
}

/** Runs a registry that is not expected to start; answers how it ended. */
export async function failRegistryProcess(
  settings: Readonly<Record<string, string>>,
): Promise<{ readonly code: number | null; readonly stderr: string }> {
  const child = spawn(process.execPath, [ENTRY], {
    env: environment(settings),
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  child.stderr.on("data", (chunk) => (stderr += String(chunk)));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stderr };
}
