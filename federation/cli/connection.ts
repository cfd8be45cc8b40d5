import { readFile } from "node:fs/promises";
import path from "node:path";
import { ok, type Result } from "../model/result.ts";
import { type Context, readConfigFile } from "./config-file.ts";
import { type Failure, fail } from "./failure.ts";
import { type Invocation, usage } from "./invocation.ts";
import { createRegistryClient, type RegistryClient } from "./registry-client.ts";

/** What a command needs to know before it can ask anything. */
export interface Connection {
  readonly registry: string;
  readonly tokenFile?: string;
  readonly cluster?: string;
}

/** Flag, else environment, else context, for each setting by itself. */
export function chooseConnection(
  given: {
    readonly registry?: string | undefined;
    readonly tokenFile?: string | undefined;
    readonly cluster?: string | undefined;
  },
  context: Context | undefined,
): Connection | undefined {
  const registry = given.registry ?? context?.registry;
  if (registry === undefined) return undefined;
  // A context's token is for its own registry: it is never shown to another one.
  const contextToken = registry === context?.registry ? context.tokenFile : undefined;
  const tokenFile = given.tokenFile ?? contextToken;
  const cluster = given.cluster ?? context?.cluster;
  return {
    registry: registry.replace(/\/+$/, ""),
    ...(tokenFile === undefined ? {} : { tokenFile }),
    ...(cluster === undefined ? {} : { cluster }),
  };
}

export async function findConnection(invocation: Invocation): Promise<Result<Connection, Failure>> {
  const { terminal, flags } = invocation;
  const context = await findContext(invocation);
  if (!context.ok) return context;
  const given = {
    registry: flags.text("registry") ?? terminal.env("ISTHMUS_REGISTRY"),
    tokenFile: flags.text("tokenFile") ?? terminal.env("ISTHMUS_TOKEN_FILE"),
    cluster: flags.text("cluster") ?? terminal.env("ISTHMUS_CLUSTER"),
  };
  const chosen = chooseConnection(given, context.value);
  if (chosen === undefined) {
    return usage(
      "which registry? none is given",
      `pass --registry <url>, set ISTHMUS_REGISTRY or ISTHMUS_CONFIG, or start a federation: ${terminal.program} demo`,
    );
  }
  const { protocol } = URL.parse(chosen.registry) ?? { protocol: "" };
  if (protocol !== "http:" && protocol !== "https:") {
    return usage(
      `"${chosen.registry}" is not the URL of a registry`,
      "write http://host:port or https://host",
    );
  }
  return ok(chosen);
}

async function findContext({ terminal, flags }: Invocation): Promise<Result<Context | undefined, Failure>> {
  const explicit = flags.text("config") ?? terminal.env("ISTHMUS_CONFIG");
  const file = explicit ?? path.join(terminal.home, ".config", "isthmus", "config.yaml");
  const wanted = flags.text("context") ?? terminal.env("ISTHMUS_CONTEXT");
  const config = await readConfigFile(file);
  if (!config.ok) return config;
  if (config.value === undefined) {
    if (explicit === undefined && wanted === undefined) return ok(undefined);
    return fail("file_unreadable", `there is no file of contexts ${file}`);
  }
  const name = wanted ?? config.value.currentContext;
  if (name === undefined) return ok(undefined);
  const found = config.value.contexts.find((context) => context.name === name);
  return found === undefined ? fail("usage", `${file} has no context ${name}`) : ok(found);
}

export async function connect(
  invocation: Invocation,
): Promise<Result<{ readonly registry: RegistryClient; readonly connection: Connection }, Failure>> {
  const connection = await findConnection(invocation);
  if (!connection.ok) return connection;
  const token = await readToken(connection.value.tokenFile);
  if (!token.ok) return token;
  const registry = createRegistryClient({ url: connection.value.registry, token: token.value });
  return ok({ registry, connection: connection.value });
}

// What may stand in an Authorization header (RFC 6750), and no more than a registry reads.
const TOKEN = /^[A-Za-z0-9._~+/-]{1,8192}=*$/;

export async function readToken(file: string | undefined): Promise<Result<string | undefined, Failure>> {
  if (file === undefined) return ok(undefined);
  try {
    const token = (await readFile(file, "utf8")).trim();
    // Never shown: what is not a token may be another secret.
    return TOKEN.test(token)
      ? ok(token)
      : fail("file_unreadable", `${file} does not hold a token and nothing else`);
  } catch (error) {
    return fail("file_unreadable", `token file: ${error instanceof Error ? error.message : String(error)}`);
  }
}
