import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, expect, test } from "vitest";
import { nodeBuiltins } from "./node-builtins.ts";

const directory = mkdtempSync(join(tmpdir(), "isthmus-builtins-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const SOURCE = `
  import http, { createServer } from "node:http";
  import * as crypto from "node:crypto";
  import { join } from "node:path";
  const loaded = process.moduleLoadList.filter((name) => name.includes("undici")).length;
  console.log(JSON.stringify({
    server: createServer === http.createServer, hash: typeof crypto.createHash, join: join("a", "b"),
    webcrypto: typeof crypto.webcrypto, loaded,
  }));`;

async function run(plugins: Parameters<typeof build>[0]["plugins"]): Promise<unknown> {
  const outfile = join(directory, plugins?.length === 0 ? "plain.mjs" : "builtins.mjs");
  await build({
    stdin: { contents: SOURCE, loader: "js" },
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    ...(plugins && { plugins }),
  });
  return JSON.parse(execFileSync(process.execPath, [outfile], { encoding: "utf8" }));
}

test("a bundle takes Node's modules without loading what hides behind their getters", async () => {
  const same = { server: true, hash: "function", join: "a/b", webcrypto: "object" };
  expect(await run([nodeBuiltins()])).toEqual({ ...same, loaded: 0 });
  expect(await run([])).toEqual({ ...same, loaded: expect.toSatisfy((count: number) => count > 0) });
});
