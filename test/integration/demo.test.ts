import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { alive, childrenOf, ISTHMUS, run } from "../fakes/federation.ts";
import { until } from "../fakes/until.ts";

/** Long enough for a machine on which every core is busy with something else. */
const PATIENCE = "60s";

describe("isthmus demo", () => {
  let temp: string;
  const environment = () => ({ TMPDIR: temp, ISTHMUS_CONFIG: undefined, NO_COLOR: "1" });
  beforeEach(() => {
    temp = mkdtempSync(join(tmpdir(), "isthmus-demo-"));
  });
  afterEach(() => rmSync(temp, { recursive: true, force: true }));

  test("--once shows the call that works, the one that is refused and why, and leaves nothing behind", async () => {
    const { code, out, err } = await run(["demo", "--once", "--timeout", PATIENCE], { env: environment() });
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toContain("✓ 200 ");
    expect(out).toMatch(/east-agent-1 logged the caller spiffe:\/\/west\.demo\.mesh\/ns\/shop\/sa\/web /);
    expect(out).toContain("× 403 ISTH-2001 ");
    expect(out).toMatch(/^CLUSTER +STATE +GATEWAYS/m);
    expect(out).not.toMatch(/^× /m);
    expect(leftIn(temp)).toEqual([]);
  }, 90_000);

  test("-o json gives the transcript as one line, with who the far side saw", async () => {
    const { code, out } = await run(["demo", "--once", "-o", "json", "--timeout", PATIENCE], {
      env: environment(),
    });
    expect(code).toBe(0);
    expect(out.trim().split("\n")).toHaveLength(1);
    const transcript = JSON.parse(out) as Transcript;
    expect(transcript).toMatchObject({
      apiVersion: "isthmus.dev/v1alpha1",
      kind: "DemoTranscript",
      ok: true,
      permitted: { answer: { status: 200 }, caller: "spiffe://west.demo.mesh/ns/shop/sa/web" },
      refused: { answer: { status: 403, code: "ISTH-2001" } },
    });
    const { witnesses, caller } = transcript.permitted;
    expect(witnesses.map(({ process }) => process)).toEqual(["east-gateway-1", "east-agent-1"]);
    expect(witnesses.every((witness) => witness.caller === caller && witness.peer !== caller)).toBe(true);
    expect(transcript.processes.map(({ role }) => role)).toEqual([
      "registry",
      "gateway",
      "agent",
      "gateway",
      "agent",
    ]);
  }, 90_000);

  test("stays up for other commands until Ctrl-C, which ends all of it in two seconds", async () => {
    const demo = spawn(process.execPath, [ISTHMUS, "demo", "--timeout", PATIENCE], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...environment() },
    });
    let err = "";
    demo.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
    demo.stdout.resume();
    const config = await until("the demo is up", 60_000, () =>
      err.includes("Ctrl-C ends") ? /ISTHMUS_CONFIG=(\S+)/.exec(err)?.[1] : undefined,
    );
    const env = { ISTHMUS_CONFIG: config };

    const checked = await run(["check"], { env });
    expect(checked.out).toContain("✓ west ns/shop/sa/web calls cart.shop:80 — reached in ");
    expect(checked.out).toContain(
      "✓ west ns/shop/sa/batch calls cart.shop:80 — refused by policy, ISTH-2001",
    );
    expect(checked).toMatchObject({ code: 0, err: "" });
    const services = await run(["service", "list"], { env });
    expect(services.out).toMatch(/^west +cart\.shop +80\/http +east +- +- +Ready$/m);
    const exported = await run(
      ["service", "export", "cart.shop", "--cluster", "east", "--to", "west", "--wait"],
      { env },
    );
    expect(exported).toMatchObject({ code: 0, out: "serviceexport/east/shop/cart updated\n" });
    const undo = /^undo: (.*)$/m.exec(exported.err)?.[1] ?? "";
    expect(undo).toContain('"workloads":["ns/shop/sa/web"]');
    expect((await run(["check"], { env })).out).toContain(
      "✓ west ns/shop/sa/batch calls cart.shop:80 — reached in ",
    );
    const dry = await run(["delete", "serviceimport/west/shop/cart", "--dry-run"], { env });
    expect(dry.out).toBe("serviceimport/west/shop/cart would be deleted (dry run)\n");
    const removed = await run(["delete", "serviceimport/west/shop/cart", "--wait"], { env });
    expect(removed).toMatchObject({ code: 0, out: "serviceimport/west/shop/cart deleted\n" });
    expect((await run(["get", "imports", "-o", "name"], { env })).out.trim()).toBe("");

    const children = childrenOf(demo.pid ?? 0);
    const pressed = performance.now();
    demo.kill("SIGINT");
    const code = await new Promise((resolve) => demo.once("exit", resolve));
    expect(performance.now() - pressed).toBeLessThan(2000);
    expect(code).toBe(130);
    expect(children.filter(alive)).toEqual([]);
    expect(leftIn(temp)).toEqual([]);
  }, 120_000);

  test("SIGTERM while it starts ends it as well", async () => {
    const demo = spawn(process.execPath, [ISTHMUS, "demo"], {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, ...environment() },
    });
    await until("the first process runs", 30_000, () => (leftIn(temp).length > 0 ? true : undefined));
    const children = childrenOf(demo.pid ?? 0);
    demo.kill("SIGTERM");
    expect(await new Promise((resolve) => demo.once("exit", resolve))).toBe(0);
    expect(children.filter(alive)).toEqual([]);
    expect(leftIn(temp)).toEqual([]);
  }, 60_000);
});

interface Transcript {
  readonly processes: readonly { readonly role: string }[];
  readonly permitted: {
    readonly caller: string;
    readonly witnesses: readonly {
      readonly process: string;
      readonly caller: string;
      readonly peer: string;
    }[];
  };
}

/** State directories that were not removed. */
function leftIn(directory: string): string[] {
  return readdirSync(directory).filter(
    (name) => name.startsWith("isthmus-") && !name.startsWith("isthmus-cache-"),
  );
}
