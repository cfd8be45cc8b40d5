import { describe, expect, test } from "vitest";
import {
  brokenAmbients,
  brokenImports,
  cycles,
  graphOf,
  missingTargets,
  type SourceFile,
  strangePackages,
} from "./graph.ts";
import { AMBIENT_RULES, IMPORT_RULES, MACHINE_PATH } from "./rules.ts";
import { importsOf, maskSource } from "./source.ts";

const file = (path: string, text: string): SourceFile => ({ path, text });
const imports = (path: string, ...specifiers: string[]) =>
  file(path, specifiers.map((one) => `import { x } from "${one}";`).join("\n"));

describe("reading imports", () => {
  test.each([
    ['import a from "./a.ts";', { specifier: "./a.ts", typeOnly: false, dynamic: false }],
    ["import 'node:net';", { specifier: "node:net", typeOnly: false, dynamic: false }],
    ['import * as z from "zod";', { specifier: "zod", typeOnly: false, dynamic: false }],
    ['import {\n  a,\n  type B,\n} from "./b.ts";', { specifier: "./b.ts", typeOnly: false, dynamic: false }],
    ['import type { A } from "./c.ts";', { specifier: "./c.ts", typeOnly: true, dynamic: false }],
    ['export * from "./d.ts";', { specifier: "./d.ts", typeOnly: false, dynamic: false }],
    ['export { a as b } from "./e.ts";', { specifier: "./e.ts", typeOnly: false, dynamic: false }],
    ['const m = await import("./f.ts");', { specifier: "./f.ts", typeOnly: false, dynamic: true }],
  ])("sees %s", (source, found) => {
    expect(importsOf(source)).toEqual([found]);
  });

  test.each([
    '// import a from "./a.ts";',
    '/* import a from "./a.ts"; */',
    "const text = 'import a from \"./a.ts\"';",
    'const text = `import a from "./a.ts"`;',
    "const from = 1; export const x = 'y';",
    'const r = /import a from "x"/;',
  ])("is not fooled by %s", (source) => {
    expect(importsOf(source)).toEqual([]);
  });

  test("keeps the code inside a template and blanks its text", () => {
    const masked = maskSource("`process.env ${process.env.A + `${Date.now()}`} Math.random` + x");
    expect(masked).toContain("process.env.A");
    expect(masked).toContain("Date.now()");
    expect(masked.match(/process\.env/g)).toHaveLength(1);
    expect(masked).not.toContain("Math.random");
    expect(masked.endsWith("` + x")).toBe(true);
  });

  test("tells a division from a regular expression", () => {
    expect(maskSource("const a = b / c; // d / e")).toBe("const a = b / c;         ");
    expect(maskSource("const a = /[/'\"]/.test(b) ? 'x' : c;")).toContain(".test(b) ? ' ' : c;");
  });

  test("survives quotes that never end", () => {
    expect(() => maskSource("const a = 'x\nconst b = `y ${ z")).not.toThrow();
  });
});

describe("every rule can fail", () => {
  test.each([
    ["federation/model/a.ts", "node:crypto"],
    ["federation/model/a.ts", "../registry/b.ts"],
    ["federation/model/a.ts", "hono"],
    ["gateway/dataplane/routing/a.ts", "../io/b.ts"],
    ["gateway/dataplane/policy/a.ts", "node:net"],
    ["gateway/dataplane/balance/a.ts", "../../../federation/trust/index.ts"],
    ["gateway/dataplane/http1/a.ts", "../identity/b.ts"],
    ["gateway/dataplane/identity/a.ts", "node:tls"],
    ["gateway/dataplane/io/a.ts", "node:http"],
    ["gateway/dataplane/io/a.ts", "../../edge/b.ts"],
    ["gateway/dataplane/io/a.ts", "undici"],
    ["gateway/edge/a.ts", "../dataplane/io/b.ts"],
    ["gateway/edge/a.ts", "../../agents/proxy/b.ts"],
    ["gateway/edge/a.ts", "../../federation/registry/b.ts"],
    ["gateway/discovery/a.ts", "../edge/b.ts"],
    ["agents/proxy/a.ts", "../../gateway/edge/b.ts"],
    ["agents/proxy/a.ts", "../../gateway/dataplane/io/b.ts"],
    ["agents/main.ts", "../federation/cli/b.ts"],
    ["federation/registry/a.ts", "../../gateway/discovery/b.ts"],
    ["federation/registry/a.ts", "../store/sqlite/b.ts"],
    ["federation/trust/a.ts", "../registry/b.ts"],
    ["federation/store/a.ts", "../http/b.ts"],
    ["federation/http/a.ts", "node:fs"],
    ["federation/cli/a.ts", "../../gateway/edge/b.ts"],
    ["gateway/edge/a.ts", "../../test/fakes/b.ts"],
  ])("%s may not import %s", (path, specifier) => {
    expect(brokenImports(graphOf([imports(path, specifier)]), IMPORT_RULES)).not.toEqual([]);
  });

  test.each([
    ["federation/model/wire/a.ts", "zod"],
    ["gateway/edge/a.ts", "../dataplane/index.ts"],
    ["gateway/main.ts", "./edge/stack.ts"],
    ["agents/proxy/a.ts", "../../gateway/dataplane/index.ts"],
    ["agents/main.ts", "../gateway/discovery/client.ts"],
    ["federation/cli/a.ts", "../../gateway/discovery/membership.ts"],
    ["federation/runtime/node.ts", "../store/sqlite/store.ts"],
    ["gateway/dataplane/io/a.ts", "node:tls"],
  ])("%s may import %s", (path, specifier) => {
    expect(brokenImports(graphOf([imports(path, specifier)]), IMPORT_RULES)).toEqual([]);
  });

  test("the command line may start the other parts on demand", () => {
    const lazily = file("federation/cli/up.ts", 'await import("../../gateway/main.ts");');
    expect(brokenImports(graphOf([lazily]), IMPORT_RULES)).toEqual([]);
  });

  test.each([
    ["gateway/edge/a.ts", "const a = process.env['A'];"],
    ["gateway/dataplane/io/a.ts", "const now = Date.now();"],
    ["federation/registry/a.ts", "const now = new Date();"],
    ["federation/trust/a.ts", "const jitter = Math.random();"],
    ["federation/registry/a.ts", "const id = randomUUID();"],
    ["federation/registry/a.ts", 'throw new ProblemError("internal");'],
    ["federation/cli/a.ts", "console.log(1);"],
  ])("%s may not hold %s", (path, text) => {
    expect(brokenAmbients([file(path, text)], AMBIENT_RULES)).not.toEqual([]);
  });

  test("edges, comments and strings may name the clock", () => {
    const text = "// Date.now() is for others\nconst help = 'process.env';";
    expect(brokenAmbients([file("gateway/edge/a.ts", text)], AMBIENT_RULES)).toEqual([]);
    expect(brokenAmbients([file("gateway/main.ts", "Date.now()")], AMBIENT_RULES)).toEqual([]);
  });

  test("a circle of three is found, a dynamic import closes none", () => {
    const [a, b] = [imports("a.ts", "./b.ts"), imports("b.ts", "./c.ts")];
    expect(cycles(graphOf([a, b, imports("c.ts", "./a.ts")]))).toEqual(["a.ts → b.ts → c.ts → a.ts"]);
    expect(cycles(graphOf([a, b, file("c.ts", 'await import("./a.ts")')]))).toEqual([]);
  });

  test("types may be circular within a folder, not between folders", () => {
    const type = (path: string, target: string) => file(path, `import type { X } from "${target}";`);
    expect(cycles(graphOf([type("f/a.ts", "./b.ts"), type("f/b.ts", "./a.ts")]))).toEqual([]);
    expect(cycles(graphOf([type("f/a.ts", "../g/b.ts"), type("g/b.ts", "../f/a.ts")]))).toHaveLength(1);
  });

  test("a package that is only there for development is found", () => {
    const graph = graphOf([imports("a.ts", "hono/tiny", "@hono/node-server", "vitest")]);
    expect(strangePackages(graph, ["hono", "@hono/node-server"])).toEqual([
      "a.ts imports vitest, which is no dependency",
    ]);
  });

  test("an import of a file that is gone is found", () => {
    expect(missingTargets(graphOf([imports("a.ts", "./gone.ts")]), () => false)).toHaveLength(1);
  });

  test("a machine's path is told from a route and from a container's folder", () => {
    for (const path of ["see /home/" + "kim/x", '"/root/' + '.ssh"'])
      expect(MACHINE_PATH.test(path)).toBe(true);
    for (const path of ["/v1/work/1", "/workloads/", "./work/x", "/home"])
      expect(MACHINE_PATH.test(path)).toBe(false);
  });
});
