import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join, resolve as absolute } from "node:path";
import { type Problem, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import type { Clock } from "../process/clock.ts";
import { errorCode, fileProblem, writeFileAtomic } from "./atomic-file.ts";
import { withFileLock } from "./file-lock.ts";

/** One local address per (workload, service, port). */
export interface AddressKey {
  /** `ns/shop/sa/web` */
  readonly workload: string;
  /** `cart.shop` */
  readonly service: string;
  readonly port: number;
}

export interface AddressBook {
  /** Addresses in the order of `keys`; the same key gets the same address for the life of the state directory. */
  allocate(keys: readonly AddressKey[]): Promise<Result<readonly string[], Problem>>;
}

export interface AddressBookOptions {
  readonly stateDir: string;
  readonly clock: Clock;
  /** Whether nobody listens on a port; tests hand in their own. */
  readonly isFree?: (port: number) => Promise<boolean>;
}

const HOST = "127.0.0.1";
// Below the kernel's ephemeral ports (32768 on Linux): an address that outlives a restart must not be in use as somebody's
// outgoing port when the process returns.
const FIRST_PORT = 15_100;
const LAST_PORT = 32_700;
const SPAN = LAST_PORT - FIRST_PORT + 1;
const FILE = "addresses.json";

type Entries = ReadonlyMap<string, string>;

/** The addresses are kept in a file that all processes of the cluster share and agree on. */
export function openAddressBook(options: AddressBookOptions): AddressBook {
  const path = join(options.stateDir, FILE);
  return {
    async allocate(keys) {
      const names = keys.map(nameOf);
      const known = await readEntries(path);
      if (!known.ok) return known;
      const addresses = lookUp(known.value, names);
      if (addresses !== undefined) return ok(addresses);
      return withFileLock(join(options.stateDir, "addresses.lock"), options, () =>
        extend(path, names, options),
      );
    },
  };
}

/** Runs under the lock: reads again, adds what is missing, writes. */
async function extend(
  path: string,
  names: readonly string[],
  { stateDir, isFree = portIsFree }: AddressBookOptions,
): Promise<Result<readonly string[], Problem>> {
  const known = await readEntries(path);
  if (!known.ok) return known;
  const entries = new Map(known.value);
  const taken = new Set(entries.values());
  let port = startPort(stateDir);
  for (const name of names) {
    if (entries.has(name)) continue;
    for (let tried = 0; taken.has(addressOf(port)) || !(await isFree(port)); tried++) {
      if (tried === SPAN)
        return err(problem("port_in_use", `no port from ${FIRST_PORT} to ${LAST_PORT} is free`));
      port = following(port);
    }
    entries.set(name, addressOf(port));
    taken.add(addressOf(port));
  }
  const text = `${JSON.stringify(Object.fromEntries([...entries].sort()), null, 2)}\n`;
  const written = await writeFileAtomic(path, text, 0o644);
  return written.ok ? ok(lookUp(entries, names) ?? []) : written;
}

/** `ns/shop/sa/web cart.shop 80` */
function nameOf({ workload, service, port }: AddressKey): string {
  return `${workload} ${service} ${port}`;
}

function lookUp(entries: Entries, names: readonly string[]): readonly string[] | undefined {
  const found: string[] = [];
  for (const name of names) {
    const address = entries.get(name);
    if (address === undefined) return undefined;
    found.push(address);
  }
  return found;
}

const ADDRESS = /^127\.0\.0\.1:[0-9]{1,5}$/;

async function readEntries(path: string): Promise<Result<Entries, Problem>> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    return errorCode(error) === "ENOENT" ? ok(new Map()) : err(fileProblem(path, "read", error));
  }
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return ok(entriesOf(value));
  } catch {
    // Falls through to the complaint: nobody but us writes this file, and we write it whole.
  }
  return err(problem("state_unusable", `${path} is damaged; remove it to have new addresses given out`));
}

function entriesOf(value: object): Entries {
  return new Map(
    Object.entries(value).filter((entry): entry is [string, string] => {
      const address: unknown = entry[1];
      return typeof address === "string" && ADDRESS.test(address);
    }),
  );
}

/**
 * Clusters on one machine begin at different places. Listeners share ports with their successors, so two clusters that
 * found the same port free in the same instant would share it silently, and traffic would go to the wrong one.
 */
function startPort(stateDir: string): number {
  const hash = createHash("sha256").update(absolute(stateDir)).digest().readUInt32BE(0);
  return FIRST_PORT + (hash % SPAN);
}

function following(port: number): number {
  return port === LAST_PORT ? FIRST_PORT : port + 1;
}

function addressOf(port: number): string {
  return `${HOST}:${port}`;
}

/** Without `reusePort` the attempt fails also where listeners that share their port are bound. */
function portIsFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host: HOST, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
