import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { PortClaims } from "../dataplane/index.ts";

/** Claims as empty files `ports/<port>.<pid>` in the cluster's state directory; those of dead processes count for nothing. */
export function openPortClaims(stateDir: string, pid: number, isAlive: (pid: number) => boolean): PortClaims {
  const directory = join(stateDir, "ports");
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  return {
    isShared(port) {
      let shared = false;
      for (const name of readdirSync(directory)) {
        const [claimed, holder] = name.split(".").map(Number);
        if (claimed !== port || holder === undefined) continue;
        if (isAlive(holder)) shared = true;
        else rmSync(join(directory, name), { force: true });
      }
      return shared;
    },
    claim(port) {
      writeFileSync(join(directory, `${port}.${pid}`), "", { mode: 0o600 });
    },
  };
}
