import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ISTHMUS, run } from "../fakes/federation.ts";

// As users run it: the real program, with nothing of this machine's settings.
const CLEAN = { ISTHMUS_CONFIG: "", ISTHMUS_REGISTRY: "", ISTHMUS_TOKEN_FILE: "" };

describe("the command line", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "isthmus-cli-"));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const isthmus = (...args: string[]) =>
    run(args, { cwd: directory, env: { HOME: directory, ...withoutEmpty(CLEAN) } });
  const write = (name: string, text: string): string => {
    writeFileSync(join(directory, name), text);
    return name;
  };

  test("tells its version as words and as JSON", async () => {
    const words = await isthmus("version");
    expect(words).toMatchObject({ code: 0, err: "" });
    expect(words.out).toMatch(/^isthmus \d+\.\d+\.\d+ \(isthmus\.dev\/v1alpha1, Node\.js 24\./);
    expect(await isthmus("--version")).toEqual(words);
    const json = await isthmus("version", "-o", "json");
    expect(JSON.parse(json.out)).toMatchObject({ apiVersion: "isthmus.dev/v1alpha1", kind: "Version" });
  });

  test("explains a code offline, however it is written", async () => {
    for (const code of ["ISTH-2001", "isth-2001", "2001", "export_denied"]) {
      expect((await isthmus("explain", code)).out).toContain(
        "the owner of the service does not permit this caller",
      );
    }
    expect(await isthmus("explain", "ISTH-0000")).toMatchObject({ code: 1, out: "" });
  });

  test.each([
    [["frobnicate"], "error[ISTH-6009]: unknown command 'frobnicate'"],
    [["cluster", "regster", "x"], "(Did you mean register?)"],
    [["get"], "missing required argument 'kind'"],
    [["version", "--loud"], "unknown option '--loud'"],
    [["version", "-o", "xml"], "argument 'xml' is invalid"],
    [["up"], "up needs a file"],
    [["up", "-f", "x.yaml", "--timeout", "soon"], "--timeout soon is not a time"],
    [["get", "clusters"], "which registry? none is given"],
    [["get", "clusters", "--registry", "nonsense"], '"nonsense" is not the URL of a registry'],
  ])("ends %j with 64, the reason and the fix", async (args, reason) => {
    const { code, out, err } = await isthmus(...args);
    expect({ code, out }).toEqual({ code: 64, out: "" });
    expect(err).toContain(reason);
    expect(err).toContain("fix: ");
  });

  test("reports all mistakes of a federation file with their places, ends with 65 and starts nothing", async () => {
    const file = write(
      "broken.yaml",
      [
        "apiVersion: isthmus.dev/v1alpha1",
        "kind: LocalFederation",
        "metadata: { name: demo.mesh }",
        "spec:",
        "  clusters:",
        "    - name: east",
        "      agent: true",
        "    - name: east",
        "---",
        "kind: ServiceExport",
        "metadata: [",
        "",
      ].join("\n"),
    );
    const { code, err } = await isthmus("up", "-f", file);
    expect(code).toBe(65);
    expect(err).toContain(
      `broken.yaml:7:7 spec.clusters[0].agent unknown field "agent" (did you mean "agents"?)`,
    );
    expect(err).toMatch(/broken\.yaml:8:7 spec\.clusters\[1\] duplicate cluster "east"/);
    expect(err).toMatch(/broken\.yaml:1[12]:\d+ /);
    expect(err).toContain("error[ISTH-6001]: 3 mistakes in broken.yaml; nothing was changed");
  });

  test("ends with 65 for a file that cannot be read", async () => {
    expect(await isthmus("up", "-f", "missing.yaml")).toMatchObject({ code: 65 });
    expect(await isthmus("apply", "-f", "missing.yaml")).toMatchObject({ code: 65 });
  });

  test("says what up would start without starting it", async () => {
    const file = write(
      "good.yaml",
      "apiVersion: isthmus.dev/v1alpha1\nkind: LocalFederation\nmetadata: { name: demo.mesh }\nspec: { clusters: [{ name: east, gateways: 2 }] }\n",
    );
    const { code, out } = await isthmus("up", "-f", file, "--dry-run");
    expect(code).toBe(0);
    expect(out).toContain("cluster east: 2 gateway(s), 1 agent(s), 0 workload(s)");
  });

  test("ends with 2 when the registry does not answer, and check with 1", async () => {
    const registry = await closedPort();
    const got = await isthmus("get", "clusters", "--registry", registry);
    expect(got).toMatchObject({ code: 2, out: "" });
    expect(got.err).toContain("error[ISTH-6005]");
    const checked = await isthmus("check", "--registry", registry);
    expect(checked).toMatchObject({ code: 1, err: "" });
    expect(checked.out).toContain("× the registry answers");
  });

  test("ends with 69 and the reason when the registry's port is taken", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const bound = server.address();
    const port = typeof bound === "object" && bound !== null ? bound.port : 0;
    const file = write(
      "taken.yaml",
      `apiVersion: isthmus.dev/v1alpha1\nkind: LocalFederation\nmetadata: { name: demo.mesh }\nspec: { registry: { listen: "127.0.0.1:${port}" }, clusters: [{ name: east }] }\n`,
    );
    const { code, err } = await isthmus("up", "-f", file);
    server.close();
    expect(err).toContain("error[ISTH-6003]");
    expect(code).toBe(69);
  });

  test("ends with 69 for a state directory that cannot be used", async () => {
    const file = write("plain.txt", "not a directory");
    const good = write(
      "one.yaml",
      "apiVersion: isthmus.dev/v1alpha1\nkind: LocalFederation\nmetadata: { name: demo.mesh }\nspec: { clusters: [{ name: east }] }\n",
    );
    const { code, err } = await isthmus("up", "-f", good, "--state", file);
    expect(err).toContain("error[ISTH-6004]");
    expect(code).toBe(69);
  });

  test.each(["bash", "zsh"])("writes a completion script that %s can read", async (shell) => {
    const { code, out } = await isthmus("completion", shell);
    expect(code).toBe(0);
    expect(await syntaxOf(out)).toBe(0);
    expect(out).toContain("cluster register");
  });

  test("stops quietly when nobody reads its output any more", async () => {
    const child = spawn("sh", ["-c", `"${process.execPath}" "${ISTHMUS}" explain | head -n 1 >/dev/null`], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let err = "";
    child.stderr.on("data", (chunk) => (err += String(chunk)));
    await new Promise((resolve) => child.once("close", resolve));
    expect(err).toBe("");
  });
});

function withoutEmpty(env: Record<string, string>): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).map(([name, value]) => [name, value === "" ? undefined : value]),
  );
}

async function closedPort(): Promise<string> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const bound = server.address();
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${typeof bound === "object" && bound !== null ? bound.port : 0}`;
}

function syntaxOf(script: string): Promise<number | null> {
  return new Promise((resolve) => {
    const bash = spawn("bash", ["-n"], { stdio: ["pipe", "ignore", "ignore"] });
    bash.once("close", resolve);
    bash.stdin.end(script);
  });
}
