import { build, type BuildOptions, type Plugin } from "esbuild";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ENDPOINTS } from "../../federation/http/endpoints.ts";
import { openApiDocument } from "../../federation/http/openapi.ts";
import { VERSION } from "../../federation/model/version.ts";

/** What each may weigh: Workers of the free plan take 3 MB compressed, and both load faster the smaller they are. */
export const LIMITS = { lambda: 2_000_000, worker: 1_000_000 } as const;
export type Target = keyof typeof LIMITS;

const ROOT = new URL("../../", import.meta.url).pathname;

const COMMON: BuildOptions = {
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2024",
  absWorkingDir: ROOT,
  write: false,
  metafile: true,
  logLevel: "silent",
  legalComments: "none",
  plugins: [madeOpenApi()],
};

const OPTIONS: { readonly [T in Target]: BuildOptions } = {
  lambda: {
    ...COMMON,
    entryPoints: ["federation/runtime/lambda.ts"],
    platform: "node",
    // The SDK is CommonJS in places, and asks for Node's own modules at run time.
    banner: { js: 'import{createRequire}from"node:module";const require=createRequire(import.meta.url);' },
    mainFields: ["module", "main"],
  },
  worker: {
    ...COMMON,
    entryPoints: ["federation/runtime/worker.ts"],
    // Which makes the SDK leave out what reads files and asks the machine for credentials.
    platform: "browser",
    mainFields: ["browser", "module", "main"],
    conditions: ["workerd", "worker", "browser", "import"],
    external: ["node:*"],
    plugins: [madeOpenApi(), nodeScheme()],
  },
};

/** One file of JavaScript. `entry` in place of the target's own, for tests. */
export async function bundle(
  target: Target,
  entry?: string,
): Promise<{ readonly code: string; readonly bytes: number; readonly inputs: Record<string, number> }> {
  const options = OPTIONS[target];
  const result = await build(entry === undefined ? options : { ...options, entryPoints: [entry] });
  const code = result.outputFiles?.[0]?.text ?? "";
  const [output] = Object.values(result.metafile?.outputs ?? {});
  const inputs = Object.entries(output?.inputs ?? {}).map(
    ([path, { bytesInOutput }]) => [path, bytesInOutput] as const,
  );
  return { code, bytes: Buffer.byteLength(code), inputs: Object.fromEntries(inputs) };
}

/** `crypto` is `node:crypto`: workerd only knows the second. */
function nodeScheme(): Plugin {
  return {
    name: "node-scheme",
    setup({ onResolve }) {
      const bare =
        /^(?:assert|buffer|crypto|events|process|stream|string_decoder|url|util|zlib|async_hooks)$/;
      onResolve({ filter: bare }, ({ path }) => ({ path: `node:${path}`, external: true }));
    },
  };
}

/** The OpenAPI document as data: what makes it is half as large as the whole rest. */
function madeOpenApi(): Plugin {
  return {
    name: "made-openapi",
    setup({ onLoad }) {
      onLoad({ filter: /federation\/http\/openapi\.ts$/ }, () => {
        const document = JSON.stringify(openApiDocument(ENDPOINTS, VERSION));
        return { contents: `export const openApiDocument = () => (${document});`, loader: "js" };
      });
    },
  };
}

/** Writes `<directory>/<target>.mjs`; refuses one that grew too large. */
export async function writeBundle(target: Target, directory: string): Promise<string> {
  const { code, bytes } = await bundle(target);
  if (bytes > LIMITS[target]) throw new Error(`${target}: ${bytes} bytes, more than ${LIMITS[target]}`);
  mkdirSync(directory, { recursive: true });
  const path = join(directory, `${target}.mjs`);
  writeFileSync(path, code);
  return path;
}

if (import.meta.main) {
  const [directory = join(ROOT, "dist")] = process.argv.slice(2);
  for (const target of ["lambda", "worker"] as const) {
    const path = await writeBundle(target, directory);
    process.stdout.write(`${path}\n`);
  }
}
