import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { PortClaims } from "../dataplane/index.ts";

/**
 * Claims as empty files `ports/<port>/<pid>` in the cluster's state directory; those of dead processes count for nothing. A folder
 * for each port, and it stays: whoever asks about one of thousands reads only that one, and nobody loses it while claiming.
 */
export function openPortClaims(stateDir: string, pid: number, isAlive: (pid: number) => boolean): PortClaims {
  const folderOf = (port: number): string => {
    const folder = join(stateDir, "ports", String(port));
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return folder;
  };
  return {
    isShared(port) {
      const folder = folderOf(port);
      let shared = false;
      for (const holder of readdirSync(folder)) {
        if (isAlive(Number(holder))) shared = true;
        else rmSync(join(folder, holder), { force: true });
      }
      return shared;
    },
    claim(port) {
      writeFileSync(join(folderOf(port), String(pid)), "", { mode: 0o600 });
    },
  };
}
