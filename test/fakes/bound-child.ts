import { type ChildProcess, spawn } from "node:child_process";

/**
 * Ends a child when this process is gone, however it went: where a hook took too long, or the process is killed, nothing of ours
 * runs any more that could end it. The watcher's input closes with this process, whatever ends it.
 */
export function endWithUs(child: ChildProcess): void {
  if (child.pid === undefined) return;
  const script = 'read -r _; kill -KILL "$0" 2>/dev/null';
  const watcher = spawn("sh", ["-c", script, String(child.pid)], {
    stdio: ["pipe", "ignore", "ignore"],
    // What is typed at the terminal, or sent to all of the group, is not for it.
    detached: true,
  });
  watcher.on("error", () => {});
  watcher.stdin.on("error", () => {});
  watcher.unref();
  if ("unref" in watcher.stdin) (watcher.stdin as unknown as { unref(): void }).unref();
  // Its number may be somebody else's soon.
  child.once("exit", () => watcher.kill("SIGKILL"));
}
