import { readFile, rename, writeFile } from "node:fs/promises";
import * as z from "zod";
import { API_VERSION } from "../model/resource.ts";
import { ok, type Result } from "../model/result.ts";
import { decode } from "../model/wire/decode.ts";
import { type Failure, fail } from "./failure.ts";
import { yaml } from "./yaml.ts";

/** Where a registry is and who we are there; kept so that commands need no flags. */
export interface Context {
  readonly name: string;
  readonly registry: string;
  readonly tokenFile?: string;
  /** The cluster that commands are about unless they name one. */
  readonly cluster?: string;
}

export interface ConfigFile {
  readonly currentContext?: string;
  readonly contexts: readonly Context[];
}

const schema = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal("ClientConfig"),
  currentContext: z.string().exactOptional(),
  contexts: z.array(
    z.strictObject({
      name: z.string(),
      registry: z.url({ protocol: /^https?$/ }),
      tokenFile: z.string().exactOptional(),
      cluster: z.string().exactOptional(),
    }),
  ),
}) satisfies z.ZodType<ConfigFile>;

export async function readConfigFile(file: string): Promise<Result<ConfigFile | undefined, Failure>> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return ok(undefined);
    return fail("file_unreadable", `${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
  const decoded = decode(schema, parseLeniently(text));
  if (decoded.ok) return decoded;
  const lines = decoded.error.map(({ path, message }) => `${file}: ${path} ${message}`);
  return fail("file_invalid", `${file} is not a file of contexts`, { lines });
}

function parseLeniently(text: string): unknown {
  try {
    return yaml().parse(text);
  } catch {
    return undefined;
  }
}

/** A file with this one context, in place at once or not at all. */
export async function writeContext(file: string, context: Context): Promise<void> {
  const content = {
    apiVersion: API_VERSION,
    kind: "ClientConfig",
    currentContext: context.name,
    contexts: [context],
  };
  await writeFile(`${file}.new`, yaml().stringify(content), { mode: 0o600 });
  await rename(`${file}.new`, file);
}
