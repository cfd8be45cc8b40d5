import { expect, test } from "vitest";
import { unwrap } from "../../test/fakes/pki.ts";
import { exportOf, openRegistryScene, type RegistryScene } from "../../test/fakes/registry-scene.ts";
import { IN_PROCESS } from "../../test/fakes/scene-runtime.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { keyRotation } from "../model/wire/api.ts";
import { decode } from "../model/wire/decode.ts";
import { verifyKeySet } from "../trust/index.ts";

const directory = useTempDirs();
const PATH = "/v1/snapshot-keys/rotate";
const HOUR_MS = 3_600_000;

const kidOf = (jws: string): unknown =>
  JSON.parse(Buffer.from(jws.split(".")[0] ?? "", "base64url").toString()).kid;

async function scene() {
  const opened = await openRegistryScene({ directory: directory() });
  const east = await opened.join("east");
  const ask = (headers = {}) =>
    opened.send("GET", "/v1/clusters/east/snapshot", { as: east.credential(), headers });
  const roots = (await opened.snapshot(east)).bundles.flatMap(({ x509Authorities }) => x509Authorities);
  const keySet = async () => {
    const text = (await opened.send("GET", "/v1/snapshot-keys", { token: null })).text;
    return unwrap(verifyKeySet(text, { federation: "demo.mesh", roots }));
  };
  return { ...opened, east, ask, keySet };
}

async function rotate({ send }: RegistryScene, body: object = {}) {
  return unwrap(decode(keyRotation, (await send("POST", PATH, { body })).json));
}

const phases = (rotation: Awaited<ReturnType<typeof rotate>>) => rotation.keys.map(({ phase }) => phase);

test("a new key is announced with the root's word for it before it signs anything", async () => {
  const made = await scene();
  const { send, ask, keySet, state } = made;
  expect(await send("GET", "/v1/snapshot-keys", { token: null })).toMatchObject({ status: 404 });
  const before = await ask();
  expect(before.headers.get("isthmus-key-set")).toBeNull();
  const revision = (await state()).revision;
  expect(phases(await rotate(made, { dryRun: true }))).toEqual(["active"]);
  expect((await state()).revision).toBe(revision);
  const rotation = await rotate(made);
  expect(phases(rotation)).toEqual(["active", "announced"]);
  const after = await ask();
  expect([kidOf(after.text), after.text]).toEqual([kidOf(before.text), before.text]);
  const { sequence, keys } = await keySet();
  expect(after.headers.get("isthmus-key-set")).toBe(String(sequence));
  expect(keys.keys.map(({ kid }) => kid)).toEqual(rotation.keys.map(({ kid }) => kid));
  // Told with the cheapest of answers too.
  const quiet = await ask({ "if-none-match": after.headers.get("etag") ?? "" });
  expect([quiet.status, quiet.headers.get("isthmus-key-set")]).toEqual([304, String(sequence)]);
  expect(await send("POST", PATH, { body: {} })).toMatchObject({ status: 400, json: { code: "ISTH-5006" } });
});

test("a key that others may have is replaced at once: snapshots are signed anew, and its tokens are void", async () => {
  const made = await scene();
  const { send, ask, keySet, join, apply, register } = made;
  const issued = await send("POST", "/v1/operator-tokens", {
    body: { role: "viewer", subject: "v", expiresInSeconds: 600 },
  });
  const token = String(Reflect.get(Object(issued.json), "token"));
  const pending = await register("north");
  const before = await ask();
  const rotation = await rotate(made, { compromised: true });
  expect(phases(rotation)).toEqual(["active"]);
  const after = await ask({ "if-none-match": before.headers.get("etag") ?? "" });
  expect(after.status).toBe(200);
  expect(kidOf(after.text)).toBe(rotation.keys[0]?.kid);
  expect(kidOf(after.text)).not.toBe(kidOf(before.text));
  expect((await keySet()).keys.keys).toHaveLength(1);
  expect(await send("GET", "/v1/clusters", { token })).toMatchObject({ status: 401 });
  const join_ = { token: null, body: { token: pending, csr: made.east.csr() } };
  expect(await send("POST", "/v1/join", join_)).toMatchObject({ status: 401, json: { code: "ISTH-1031" } });
  // All else goes on, with the new key.
  await join("north");
  expect((await apply(exportOf("east", "cart", "north"))).status).toBe(200);
  const again = await rotate(made, { compromised: true });
  expect(again.keys[0]?.kid).not.toBe(rotation.keys[0]?.kid);
});

test("only an administrator rotates, and nothing unknown is taken", async () => {
  const { send, east } = await scene();
  const body = { role: "editor", subject: "e", expiresInSeconds: 60 };
  const issued = await send("POST", "/v1/operator-tokens", { body });
  const token = String(Reflect.get(Object(issued.json), "token"));
  expect(await send("POST", PATH, { token, body: {} })).toMatchObject({ status: 403 });
  // A member's signature covers a body that is not even read for it.
  expect(await send("POST", PATH, { as: east.credential(), body: {} })).toMatchObject({ status: 401 });
  expect(await send("POST", PATH, { body: { compromised: "yes" } })).toMatchObject({ status: 400 });
});

test.runIf(IN_PROCESS)(
  "time alone moves keys on: to signing, out of the set, and to the next one",
  async () => {
    const made = await scene();
    const { registry, clock, ask, keySet, send } = made;
    const issued = await send("POST", "/v1/operator-tokens", {
      body: { role: "viewer", subject: "v", expiresInSeconds: 30 * 24 * 3_600 },
    });
    const token = String(Reflect.get(Object(issued.json), "token"));
    const founding = kidOf((await ask()).text);
    const announced = await rotate(made);
    const maintain = async (passed: number) => {
      clock.advance(passed);
      unwrap(await registry.maintain({ makesKeys: true }));
    };
    await maintain(HOUR_MS - 1_000);
    expect(kidOf((await ask()).text)).toBe(founding);
    await maintain(1_000);
    expect(kidOf((await ask()).text)).toBe(announced.keys[1]?.kid);
    expect((await keySet()).keys.keys).toHaveLength(2);
    await maintain(7 * 24 * HOUR_MS);
    expect((await keySet()).keys.keys.map(({ kid }) => kid)).toEqual([announced.keys[1]?.kid]);
    // An operator's token outlives the key among the members.
    expect((await send("GET", "/v1/clusters", { token })).status).toBe(200);
    await maintain(90 * 24 * HOUR_MS);
    const { keys } = await keySet();
    expect(keys.keys).toHaveLength(2);
    const audit = (await send("GET", "/v1/audit?limit=100")).text;
    for (const action of ["announce", "activate", "retire"]) expect(audit).toContain(`signing-key.${action}`);
  },
);
