import { readFile } from "node:fs/promises";
import { API_VERSION } from "../../model/resource.ts";
import { ok } from "../../model/result.ts";
import { EXIT } from "../exit.ts";
import type { Command } from "../invocation.ts";
import { isData, renderData } from "../output/format.ts";

export const version: Command = async ({ terminal, format }) => {
  const found = { isthmus: await ownVersion(), node: process.versions.node, api: API_VERSION };
  terminal.out(
    isData(format)
      ? renderData(format, { apiVersion: API_VERSION, kind: "Version", ...found })
      : `isthmus ${found.isthmus} (${found.api}, Node.js ${found.node})`,
  );
  return ok(EXIT.yes);
};

/** From package.json, the one place where it is written. */
export async function ownVersion(): Promise<string> {
  const text = await readFile(new URL("../../../package.json", import.meta.url), "utf8");
  const parsed: unknown = JSON.parse(text);
  return typeof parsed === "object" && parsed !== null && "version" in parsed
    ? String(parsed.version)
    : "0.0.0";
}
