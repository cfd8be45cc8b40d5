import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { expect, test } from "vitest";
import { parseServerlessConfig } from "../../federation/runtime/serverless-config.ts";
import { COMPATIBILITY_DATE } from "../fakes/workerd-client.ts";

const SECRETS = {
  ISTHMUS_ADMIN_TOKEN_SHA256: "0".repeat(64),
  ISTHMUS_SEAL_SECRET: Buffer.alloc(32).toString("base64"),
  AWS_ACCESS_KEY_ID: "id",
  AWS_SECRET_ACCESS_KEY: "secret",
};

test("wrangler's settings and the secrets of its README are what a worker needs to start", () => {
  const folder = new URL("../../infra/workers/", import.meta.url);
  const text = readFileSync(new URL("wrangler.jsonc", folder), "utf8").replace(/^\s*\/\/.*$/gm, "");
  const config = parse(text) as { readonly vars: Record<string, string>; readonly [key: string]: unknown };
  expect(config["compatibility_date"]).toBe(COMPATIBILITY_DATE);
  expect(config["compatibility_flags"]).toEqual(["nodejs_compat"]);
  const settings: Record<string, string> = { ...config.vars, ...SECRETS };
  expect(parseServerlessConfig((key) => settings[key])).toMatchObject({ ok: true });
  const readme = readFileSync(new URL("README.md", folder), "utf8");
  for (const name of Object.keys(SECRETS)) expect(readme).toContain(`secret put ${name}`);
});
