import { createHash, randomBytes } from "node:crypto";
import { accessSync, constants, existsSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Problem, problem } from "../model/problem.ts";
import { ok, type Result } from "../model/result.ts";
import { readSecretFile, writeSecretFile } from "../trust/index.ts";

export function adminTokenFile(stateDir: string): string {
  return join(stateDir, "admin.token");
}

/** Readable, writable and nobody else's; made where it is missing. */
export function prepareStateDir(stateDir: string): Problem | undefined {
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    if (!statSync(stateDir).isDirectory()) return problem("state_unusable", `${stateDir} is not a directory`);
    accessSync(stateDir, constants.R_OK | constants.W_OK | constants.X_OK);
    return undefined;
  } catch (cause) {
    return problem("state_unusable", cause instanceof Error ? cause.message : String(cause));
  }
}

/** SHA-256 of the first operator's token, hex; the token is made where there is none. */
export function adminTokenSha256(stateDir: string): Result<string, Problem> {
  const path = adminTokenFile(stateDir);
  if (!existsSync(path)) {
    const written = writeSecretFile(path, `${randomBytes(32).toString("base64url")}\n`);
    if (!written.ok) return written;
  }
  const token = readSecretFile(path);
  return token.ok ? ok(createHash("sha256").update(token.value.trim()).digest("hex")) : token;
}
