import { type Problem, problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import type { Foundation, RegistryStore, StoreFailure } from "../registry/store.ts";
import type { Vault } from "../registry/vault.ts";
import {
  createRoot,
  createRootWith,
  createSigningKey,
  loadRoot,
  loadRootSigner,
  loadSigningKey,
  localRootSigner,
  publicKeyFromDer,
  type RootSigner,
  type SigningKey,
} from "../trust/index.ts";

/** What the registry is founded on: without the keys nothing that it ever signed can be continued. */
export interface Keys {
  readonly root: RootSigner;
  readonly signing: SigningKey;
  readonly foundation: Foundation;
}

/** A key that never leaves the service that manages it. */
export interface ManagedKey {
  /** SPKI, DER. */
  publicKeyDer(): Promise<Uint8Array>;
  /** ECDSA with SHA-256 over `tbs`, in DER. */
  sign(tbs: Buffer): Promise<Buffer>;
}

export interface KeyOptions {
  readonly vault: Vault;
  readonly store: RegistryStore;
  readonly federation: string | undefined;
  readonly now: number;
  /** Hex; asked for at the first start only. */
  readonly adminTokenSha256: () => Result<string, Problem>;
  /** Instead of a root key in the vault. */
  readonly rootKey?: ManagedKey;
}

/**
 * The keys of this federation; at the first start they are made, and the store learns the federation's name last: a
 * start that was cut short is simply repeated, and keys that something was signed with are never replaced. Several
 * instances may start at once: the vault keeps what was there first.
 */
export async function openKeys(options: KeyOptions): Promise<Result<Keys, Problem>> {
  const { store, vault } = options;
  const found = await store.foundation();
  if (!found.ok) return err(storeProblem(found.error));
  const known = found.value;
  const name = known?.federation ?? options.federation;
  if (name === undefined)
    return err(problem("config_invalid", "ISTHMUS_FEDERATION is required at the first start"));
  if (options.federation !== undefined && options.federation !== name) {
    const detail = `the store belongs to the federation ${name}, ISTHMUS_FEDERATION says ${options.federation}`;
    return err(problem("config_invalid", detail));
  }
  if (known === undefined) {
    const root = await vault.create("root", await newRoot(options, name));
    if (!root.ok) return err(storeProblem(root.error));
    const signing = await vault.create("signing", createSigningKey().privateKeyPem);
    if (!signing.ok) return err(storeProblem(signing.error));
  }
  const root = await readRoot(options);
  if (!root.ok) return root;
  const signing = await readKey(vault, "signing");
  if (!signing.ok) return signing;
  const loaded = loadSigningKey(signing.value);
  if (!loaded.ok) return loaded;
  const foundation = known === undefined ? await layFoundation(options, name) : ok(known);
  return foundation.ok
    ? ok({ root: root.value, signing: loaded.value, foundation: foundation.value })
    : foundation;
}

async function newRoot({ rootKey, now }: KeyOptions, federation: string): Promise<string> {
  if (rootKey === undefined) {
    const { certificatePem, privateKeyPem } = createRoot({ federation, now });
    return `${certificatePem}\n${privateKeyPem}`;
  }
  const publicKey = publicKeyFromDer(await rootKey.publicKeyDer());
  return createRootWith({ federation, now, publicKey, sign: (tbs) => rootKey.sign(tbs) });
}

async function readRoot({ vault, rootKey }: KeyOptions): Promise<Result<RootSigner, Problem>> {
  const text = await readKey(vault, "root");
  if (!text.ok) return text;
  const [certificatePem = "", privateKeyPem = ""] = splitPem(text.value);
  if (rootKey !== undefined) {
    const publicKeyDer = await rootKey.publicKeyDer();
    return loadRootSigner({ certificatePem, publicKeyDer, sign: (tbs) => rootKey.sign(tbs) });
  }
  const root = loadRoot({ certificatePem, privateKeyPem });
  return root.ok ? ok(localRootSigner(root.value)) : root;
}

async function readKey(vault: Vault, name: string): Promise<Result<string, Problem>> {
  const text = await vault.read(name);
  if (!text.ok) return err(storeProblem(text.error));
  return text.value === undefined
    ? err(problem("state_unusable", `the key "${name}" is missing: restore it from the backup of the keys`))
    : ok(text.value);
}

async function layFoundation(options: KeyOptions, federation: string): Promise<Result<Foundation, Problem>> {
  const adminTokenSha256 = options.adminTokenSha256();
  if (!adminTokenSha256.ok) return adminTokenSha256;
  const founded = await options.store.found({ federation, adminTokenSha256: adminTokenSha256.value });
  return founded.ok ? founded : err(storeProblem(founded.error));
}

/** The PEM blocks of a text: certificate first, then its key where it lies at hand. */
export function splitPem(text: string): readonly string[] {
  return text.match(/-----BEGIN [A-Z ]+-----[\s\S]+?-----END [A-Z ]+-----\n?/g) ?? [];
}

export function storeProblem(failure: StoreFailure): Problem {
  return problem("state_unusable", failure.kind === "unavailable" ? failure.detail : "the store is in use");
}
