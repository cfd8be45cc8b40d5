import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { joinAs } from "../chaos/member.ts";
import { tableOf } from "../fakes/dynamodb-local.ts";
import { dynamoDbMissing } from "../fakes/dynamodb-missing.ts";
import { unwrap } from "../fakes/pki.ts";
import { memberReport } from "../fakes/registry-scene.ts";
import { type RegistryProcess, startRegistryProcess } from "../fakes/registry-process.ts";
import { useTempDirs } from "../fakes/temp-dir.ts";

const directory = useTempDirs();
let running: RegistryProcess | undefined;
afterEach(() => void running?.child.kill("SIGKILL"));

const PROMTOOL = ["/usr/bin/promtool", "/usr/local/bin/promtool"].find((path) => existsSync(path));
const missing = dynamoDbMissing();

/** A registry that did something of everything; its metrics. */
async function used(settings: Record<string, string>, stateDir: string): Promise<string> {
  running = await startRegistryProcess(stateDir, settings);
  const { client, url, token } = running;
  const east = await joinAs(client, "east");
  await east.request(url, "PUT", "/v1/clusters/east/members/gateway-1", memberReport());
  await east.request(url, "GET", "/v1/clusters/east/snapshot");
  unwrap(await client.register("north"));
  await fetch(`${url}/v1/nowhere/${"x".repeat(50)}`);
  await fetch(`${url}/v1/clusters`, { headers: { authorization: "Bearer guess" } });
  const reply = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${token}` } });
  expect(reply.status).toBe(200);
  expect(reply.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  return reply.text();
}

const valueOf = (text: string, series: string): number =>
  Number(
    text
      .split("\n")
      .find((line) => line.startsWith(`${series} `))
      ?.split(" ")
      .at(-1),
  );

test("a registry tells what it does, with labels that cannot grow, and to operators only", async () => {
  const text = await used({}, join(directory(), "state"));
  const total = "isthmus_registry_requests_total";
  expect(valueOf(text, `${total}{method="POST",route="/v1/clusters",status="201"}`)).toBe(2);
  expect(valueOf(text, `${total}{method="GET",route="/v1/clusters/{name}/snapshot",status="200"}`)).toBe(1);
  expect(valueOf(text, `${total}{method="GET",route="other",status="404"}`)).toBe(1);
  expect(valueOf(text, `${total}{method="GET",route="/v1/clusters",status="401"}`)).toBe(1);
  expect(valueOf(text, 'isthmus_registry_clusters{state="pending"}')).toBe(1);
  expect(valueOf(text, 'isthmus_registry_clusters{state="joined"}')).toBe(1);
  expect(
    valueOf(text, 'isthmus_registry_store_calls_total{operation="commit",outcome="ok"}'),
  ).toBeGreaterThan(2);
  expect(valueOf(text, "isthmus_registry_snapshots_total")).toBe(1);
  expect(valueOf(text, "isthmus_registry_writable")).toBe(1);
  // Names and secrets are nobody's label.
  for (const word of ["east", "north", "nowhere", "xxx", running?.token ?? ""])
    expect(text).not.toContain(word);
  expect((await fetch(`${running?.url}/metrics`)).status).toBe(401);
});

test.skipIf(PROMTOOL === undefined)(
  "promtool finds nothing to say about them (skipped where it is missing)",
  async () => {
    const text = await used({}, join(directory(), "state"));
    const judge = spawn(PROMTOOL ?? "", ["check", "metrics"], { stdio: ["pipe", "pipe", "pipe"] });
    let said = "";
    for (const stream of [judge.stdout, judge.stderr]) stream.on("data", (chunk) => (said += String(chunk)));
    judge.stdin.end(text);
    const [code] = (await once(judge, "close")) as [number];
    expect(said).toBe("");
    expect(code).toBe(0);
  },
);

test.skipIf(missing !== undefined)(
  `on a table they say what it charged (${missing ?? "DynamoDB Local"})`,
  async () => {
    const stateDir = join(directory(), "state");
    const { local, table } = await tableOf(stateDir);
    const settings = {
      ISTHMUS_STORE: "dynamodb",
      ISTHMUS_DYNAMODB_TABLE: table,
      ISTHMUS_DYNAMODB_ENDPOINT: local.endpoint,
    };
    const text = await used(settings, stateDir);
    expect(valueOf(text, "isthmus_registry_table_read_units_total")).toBeGreaterThan(5);
    expect(valueOf(text, "isthmus_registry_table_write_units_total")).toBeGreaterThan(5);
    expect(valueOf(text, "isthmus_registry_table_retries_total")).toBe(0);
  },
);
