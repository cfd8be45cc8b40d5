import { mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { type Entry, processBundle } from "../bundle/process-bundle.ts";

/** The roles that an image is made of. */
const ROLES: readonly Entry[] = ["gateway", "agent", "controller"];

/** What a container's image holds of a role: one file, `main.mjs`. */
export async function buildImage(role: string, directory: string): Promise<void> {
  const entry = ROLES.find((known) => known === role);
  if (entry === undefined) throw new Error(`${role} is not one of ${ROLES.join(", ")}`);
  mkdirSync(directory, { recursive: true });
  await build({ ...processBundle([entry], directory), logLevel: "warning" });
  renameSync(join(directory, `${entry}.mjs`), join(directory, "main.mjs"));
}

if (import.meta.main) {
  const [role = "", directory = "dist"] = process.argv.slice(2);
  await buildImage(role, directory);
}
