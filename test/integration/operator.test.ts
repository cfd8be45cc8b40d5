import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ISTHMUS, run } from "../fakes/federation.ts";
import { until } from "../fakes/until.ts";

const POLICY = `apiVersion: isthmus.dev/v1alpha1
kind: EgressPolicy
metadata: { cluster: west, name: shopping }
spec: { mode: observe, from: [{ workload: "ns/shop/sa/web" }], to: [{ service: { namespace: shop, name: cart } }] }
`;

/** A registry of its own and the commands of a platform engineer, step by step; each step builds on the one before. */
describe("an operator's commands", () => {
  const directory = mkdtempSync(join(tmpdir(), "isthmus-operator-"));
  const at = (name: string) => join(directory, name);
  let registry: ChildProcess;
  let url = "";

  beforeAll(async () => {
    registry = spawn(
      process.execPath,
      [
        ISTHMUS,
        "registry",
        "--federation",
        "acme.mesh",
        "--listen",
        "127.0.0.1:0",
        "--state",
        at("registry"),
      ],
      { stdio: ["ignore", "ignore", "pipe"], cwd: directory },
    );
    let log = "";
    registry.stderr?.setEncoding("utf8").on("data", (text: string) => (log += text));
    const listen = await until("the registry serves", 20_000, () => /"listen":"([^"]+)"/.exec(log)?.[1]);
    url = `http://${listen}`;
  });
  afterAll(async () => {
    registry.kill("SIGINT");
    await until("the registry ends", 5000, () => registry.exitCode ?? registry.signalCode ?? undefined);
    rmSync(directory, { recursive: true, force: true });
  });

  // Hints name the program as it was started; the tests themselves are often started by npm.
  const asInstalled = { HOME: directory, npm_lifecycle_event: undefined };
  const isthmus = (...args: string[]) =>
    run(args, {
      cwd: directory,
      env: { ...asInstalled, ISTHMUS_REGISTRY: url, ISTHMUS_TOKEN_FILE: at("registry/admin.token") },
    });
  const shell = (line: string) =>
    new Promise<number | null>((resolve) => {
      const command = line.replaceAll(/\bisthmus (?=apply|delete)/g, `"${process.execPath}" "${ISTHMUS}" `);
      const env = { ...process.env, ISTHMUS_REGISTRY: url, ISTHMUS_TOKEN_FILE: at("registry/admin.token") };
      spawn("sh", ["-c", command], { cwd: directory, env, stdio: "ignore" }).once("close", resolve);
    });
  const undoOf = (err: string): string => /^undo: (.*)$/m.exec(err)?.[1] ?? "";

  test("register says what would happen, then prints a token on its last line, and the next command works", async () => {
    expect((await isthmus("cluster", "register", "east", "--dry-run")).out).toBe(
      "cluster/east would be registered (dry run)\n",
    );
    const registered = await isthmus("cluster", "register", "east");
    expect(registered.code).toBe(0);
    writeFileSync(at("east.token"), registered.out.trim().split("\n").at(-1) ?? "");
    expect(undoOf(registered.err)).toBe("isthmus delete cluster east");
    const wrong = await isthmus("cluster", "join", "west", "--join-token-file", "east.token");
    expect(wrong).toMatchObject({ code: 1, err: expect.stringContaining("error[ISTH-1034]") });
    const joined = await isthmus(
      "cluster",
      "join",
      "east",
      "--join-token-file",
      "east.token",
      "--state",
      "east",
    );
    expect(joined).toMatchObject({ code: 0, out: expect.stringContaining("cluster east joined acme.mesh") });
    expect(statSync(at("east/ca.key")).mode & 0o777).toBe(0o600);
    const kept = await isthmus(
      "cluster",
      "join",
      "east",
      "--join-token-file",
      "east.token",
      "--state",
      "east",
    );
    expect(kept).toMatchObject({ code: 69, err: expect.stringContaining("--force replaces it") });
    const again = await isthmus(
      "cluster",
      "join",
      "east",
      "--join-token-file",
      "east.token",
      "--state",
      "other",
    );
    expect(again).toMatchObject({ code: 1, err: expect.stringContaining("error[ISTH-1033]") });
  });

  test("apply tells all mistakes with their places, both its own and the registry's, and changes nothing", async () => {
    writeFileSync(
      at("bad.yaml"),
      POLICY.replace("mode: observe", "mode: obsreve").replace("name: cart", "nmae: cart"),
    );
    const own = await isthmus("apply", "-f", "bad.yaml");
    expect(own.code).toBe(65);
    expect(own.err).toContain(
      'bad.yaml:4:9 spec.mode expected observe or enforce, got "obsreve" (did you mean "observe"?)',
    );
    expect(own.err).toContain('unknown field "nmae" (did you mean "name"?)');
    writeFileSync(at("far.yaml"), `${POLICY.replace("cluster: west", "cluster: eats")}`);
    const theirs = await isthmus("apply", "-f", "far.yaml");
    expect(theirs.code).toBe(65);
    expect(theirs.err).toContain(
      'far.yaml:3:13 metadata.cluster no cluster of this federation is called "eats" (did you mean "east"?)',
    );
    expect((await isthmus("get", "egress", "-o", "name")).out.trim()).toBe("");
  });

  test("what is created, changed and deleted can be undone by the line that is printed", async () => {
    await isthmus("cluster", "register", "west");
    writeFileSync(at("policy.yaml"), POLICY);
    const dry = await isthmus("apply", "-f", "policy.yaml", "--dry-run");
    expect(dry).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^egresspolicy\/west\/shopping would be created \(dry run\)/),
    });
    expect(undoOf(dry.err)).toBe("");
    const created = await isthmus("apply", "-f", "policy.yaml");
    expect(undoOf(created.err)).toBe("isthmus delete egresspolicy/west/shopping");
    expect((await isthmus("apply", "-f", "policy.yaml")).out).toMatch(/ unchanged/);

    writeFileSync(at("policy.yaml"), POLICY.replace("observe", "enforce"));
    const changed = await isthmus("apply", "-f", "policy.yaml");
    expect((await isthmus("egress", "list")).out).toMatch(
      /^west +shopping +enforce +ns\/shop\/sa\/web +cart\.shop/m,
    );
    expect(await shell(undoOf(changed.err))).toBe(0);
    expect((await isthmus("egress", "list")).out).toMatch(/ observe /);

    const deleted = await isthmus("delete", "egress", "shopping", "--cluster", "west");
    expect(deleted).toMatchObject({ code: 0, out: "egresspolicy/west/shopping deleted\n" });
    expect(await shell(undoOf(deleted.err))).toBe(0);
    expect(await isthmus("get", "egress", "west/shopping")).toMatchObject({ code: 0 });
    expect(await shell(undoOf(created.err))).toBe(0);
    expect(await isthmus("get", "egress", "west/shopping")).toMatchObject({ code: 1 });
  });

  test("exporting and importing say what is missing, and the exported YAML can be applied again", async () => {
    const exported = await isthmus("service", "export", "cart.shop", "--cluster", "east", "--to", "west");
    expect(exported.out).toMatch(/^serviceexport\/east\/shop\/cart created — NoService: /);
    expect(exported.err).toContain("next: isthmus service import cart.shop --from east --cluster west");
    const more = await isthmus("service", "export", "cart.shop", "--cluster", "east", "--to", "north");
    expect(more).toMatchObject({ code: 0 });
    const yaml = await isthmus("get", "exports", "-o", "yaml");
    expect(yaml.out).toMatch(/- cluster: west\n +- cluster: north\n/);
    writeFileSync(at("exports.yaml"), yaml.out);
    expect((await isthmus("apply", "-f", "exports.yaml")).out).toMatch(/ unchanged/);
    expect(await isthmus("delete", "cluster", "east")).toMatchObject({
      code: 1,
      err: expect.stringContaining("error[ISTH-5010]"),
    });
    expect(await isthmus("delete", "-f", "exports.yaml")).toMatchObject({ code: 0 });
    expect(await isthmus("delete", "cluster", "west")).toMatchObject({ code: 0 });
  });

  test("a token that is missing or wrong is a clear no, and no other secret is shown", async () => {
    const none = await run(["cluster", "list", "--registry", url], {
      cwd: directory,
      env: { HOME: directory },
    });
    expect(none).toMatchObject({ code: 1, err: expect.stringContaining("error[ISTH-5001]") });
    writeFileSync(at("secret.txt"), "two words\nof something else");
    const wrong = await isthmus("cluster", "list", "--token-file", "secret.txt");
    expect(wrong).toMatchObject({ code: 65, out: "" });
    expect(wrong.err).not.toContain("something else");
  });

  test("a context of the user's own file spares the flags", async () => {
    writeFileSync(
      at("contexts.yaml"),
      `apiVersion: isthmus.dev/v1alpha1\nkind: ClientConfig\ncurrentContext: acme\ncontexts: [{ name: acme, registry: "${url}", tokenFile: "${at("registry/admin.token")}" }]\n`,
    );
    const env = { HOME: directory, ISTHMUS_CONFIG: at("contexts.yaml") };
    expect(await run(["cluster", "list", "-o", "name"], { env })).toMatchObject({
      code: 0,
      out: "cluster/east\n",
    });
    expect(await run(["cluster", "list", "--context", "other"], { env })).toMatchObject({ code: 64 });
  });

  test("egress test says yes, no and cannot tell in a way that a script can rely on", async () => {
    const federation = `apiVersion: isthmus.dev/v1alpha1
kind: LocalFederation
metadata: { name: demo.mesh }
spec: { clusters: [{ name: west, workloads: [{ namespace: shop, name: web }] }] }
---
apiVersion: isthmus.dev/v1alpha1
kind: EgressPolicy
metadata: { cluster: west, name: payments }
spec: { mode: enforce, from: [{ workload: "ns/shop/sa/web" }], to: [{ hostname: api.example.com }] }
`;
    writeFileSync(at("outside.yaml"), federation);
    writeFileSync(at("nothing.yaml"), POLICY.replace("west", "east"));
    const ask = (...args: string[]) => isthmus("egress", "test", ...args);
    const web = "ns/shop/sa/web";
    expect(await ask(web, "api.example.com", "-f", "outside.yaml")).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^yes: [^]*policy: payments/),
    });
    expect(await ask("ns/shop/sa/batch", "api.example.com", "-f", "outside.yaml")).toMatchObject({
      code: 1,
      out: expect.stringMatching(/^no: [^]*ISTH-2201/),
    });
    expect(await ask(web, "api.example.com", "-f", "nothing.yaml", "--cluster", "west")).toMatchObject({
      code: 2,
      out: expect.stringMatching(/^cannot tell: /),
    });
    expect(await ask(web, "api.example.com", "--cluster", "nowhere")).toMatchObject({ code: 2 });
    expect(await ask("web", "api.example.com", "-f", "outside.yaml")).toMatchObject({ code: 64 });
  });
});
