import { createHash, randomBytes } from "node:crypto";
import { accessSync, constants, existsSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Problem, problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import type { Foundation, RegistryStore } from "../registry/store.ts";
import {
  createRoot,
  createSigningKey,
  loadRoot,
  loadSigningKey,
  readSecretFile,
  type Root,
  type SigningKey,
  writeSecretFile,
} from "../trust/index.ts";

/** What the registry is founded on: without the keys nothing that it ever signed can be continued. */
export interface Keys {
  readonly root: Root;
  readonly signing: SigningKey;
  readonly foundation: Foundation;
}

const FILES = {
  root: "root.key",
  certificate: "root.crt",
  signing: "signing.key",
  admin: "admin.token",
} as const;

export function adminTokenFile(stateDir: string): string {
  return join(stateDir, FILES.admin);
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

/**
 * The keys of this federation; at the first start they are made, and the store learns the federation's name last: a
 * start that was cut short is simply repeated, and keys that something was signed with are never replaced.
 */
export async function openKeys(
  stateDir: string,
  store: RegistryStore,
  options: { readonly federation: string | undefined; readonly now: number },
): Promise<Result<Keys, Problem>> {
  const found = await store.foundation();
  if (!found.ok) return err(problem("state_unusable", "the store cannot be read"));
  const known = found.value;
  const name = known?.federation ?? options.federation;
  if (name === undefined)
    return err(problem("config_invalid", "ISTHMUS_FEDERATION is required at the first start"));
  if (options.federation !== undefined && options.federation !== name) {
    const detail = `${stateDir} belongs to the federation ${name}, ISTHMUS_FEDERATION says ${options.federation}`;
    return err(problem("config_invalid", detail));
  }
  if (known === undefined) {
    const made = makeMissing(stateDir, name, options.now);
    if (!made.ok) return made;
  }
  const keys = loadKeys(stateDir);
  if (!keys.ok) return keys;
  const foundation = known ?? (await layFoundation(stateDir, store, name));
  return "error" in foundation ? foundation : ok({ ...keys.value, foundation });
}

function makeMissing(stateDir: string, federation: string, now: number): Result<void, Problem> {
  const files: [string, string][] = [];
  if (!existsSync(join(stateDir, FILES.root)) || !existsSync(join(stateDir, FILES.certificate))) {
    const root = createRoot({ federation, now });
    files.push([FILES.certificate, root.certificatePem], [FILES.root, root.privateKeyPem]);
  }
  if (!existsSync(join(stateDir, FILES.signing)))
    files.push([FILES.signing, createSigningKey().privateKeyPem]);
  if (!existsSync(join(stateDir, FILES.admin)))
    files.push([FILES.admin, `${randomBytes(32).toString("base64url")}\n`]);
  for (const [name, text] of files) {
    const written = writeSecretFile(join(stateDir, name), text);
    if (!written.ok) return written;
  }
  return ok(undefined);
}

function loadKeys(stateDir: string): Result<Pick<Keys, "root" | "signing">, Problem> {
  const key = readSecretFile(join(stateDir, FILES.root));
  if (!key.ok) return key;
  const certificate = readSecretFile(join(stateDir, FILES.certificate));
  if (!certificate.ok) return certificate;
  const root = loadRoot({ certificatePem: certificate.value, privateKeyPem: key.value });
  if (!root.ok) return root;
  const signingPem = readSecretFile(join(stateDir, FILES.signing));
  if (!signingPem.ok) return signingPem;
  const signing = loadSigningKey(signingPem.value);
  return signing.ok ? ok({ root: root.value, signing: signing.value }) : signing;
}

async function layFoundation(stateDir: string, store: RegistryStore, federation: string) {
  const token = readSecretFile(adminTokenFile(stateDir));
  if (!token.ok) return token;
  const adminTokenSha256 = createHash("sha256").update(token.value.trim()).digest("hex");
  const founded = await store.found({ federation, adminTokenSha256 });
  return founded.ok ? founded.value : err(problem("state_unusable", "the store cannot be written"));
}
