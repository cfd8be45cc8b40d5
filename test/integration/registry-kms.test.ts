import { createHash, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ScanCommand } from "@aws-sdk/client-dynamodb";
import { afterEach, expect, test } from "vitest";
import { systemSpiffeId, type TrustDomain } from "../../federation/model/spiffe-id.ts";
import { keyRotation, type KeyRotation } from "../../federation/model/wire/api.ts";
import { decode } from "../../federation/model/wire/decode.ts";
import { exportTo, importFrom, migrate } from "../../federation/runtime/maintenance.ts";
import { createServerless, type ServerlessRegistry } from "../../federation/runtime/serverless.ts";
import {
  createClusterKey,
  createCsr,
  type Credential,
  issueSvid,
  loadClusterCa,
  privateKeyToPem,
  signMemberRequest,
  verifyKeySet,
  verifySnapshot,
} from "../../federation/trust/index.ts";
import { tableOf } from "../fakes/dynamodb-local.ts";
import { dynamoDbMissing } from "../fakes/dynamodb-missing.ts";
import { type FakeKms, startFakeKms } from "../fakes/fake-kms.ts";
import { lambdaTools } from "../fakes/lambda-client.ts";
import { createManualClock } from "../fakes/manual-clock.ts";
import { unwrap } from "../fakes/pki.ts";
import { useTempDirs } from "../fakes/temp-dir.ts";

const directory = useTempDirs();
/** AWS's own SDK talks to DynamoDB Local and to a fake of KMS. */
const missing = dynamoDbMissing();
const TOKEN = "an-admin-token-of-this-test";
const HOUR_MS = 3_600_000;

let running: FakeKms | undefined;
afterEach(() => running?.stop());

interface Joined {
  /** A new one: it lives for an hour. */
  credential(): Credential;
  readonly ca: X509Certificate;
  /** DER, base64. */
  readonly roots: readonly string[];
}

async function scene() {
  const kms = await startFakeKms();
  running = kms;
  const rootKey: KeyObject = kms.createSigningKey("root-key");
  kms.createSealingKey("seal-key");
  const clock = createManualClock();
  const stateDir = directory();
  const { local, table } = await tableOf(stateDir);
  const settings: Record<string, string> = {
    ISTHMUS_FEDERATION: "demo.mesh",
    ISTHMUS_ADMIN_TOKEN_SHA256: createHash("sha256").update(TOKEN).digest("hex"),
    ISTHMUS_STORE: "dynamodb",
    ISTHMUS_DYNAMODB_TABLE: table,
    ISTHMUS_DYNAMODB_ENDPOINT: local.endpoint,
    ISTHMUS_ROOT_KMS_KEY: "root-key",
    ISTHMUS_SEAL_KMS_KEY: "seal-key",
    ISTHMUS_KMS_ENDPOINT: kms.endpoint,
    ISTHMUS_STATE_DIR: stateDir,
  };
  const lines: string[] = [];
  /** An instance that starts cold. */
  const start = (more: Record<string, string> = {}): ServerlessRegistry => {
    const tools = lambdaTools({ ...settings, ...more }, clock);
    return createServerless({ ...tools, write: (line) => void lines.push(line) });
  };
  const ask = async (
    { fetch }: ServerlessRegistry,
    method: string,
    path: string,
    more: { readonly body?: object; readonly as?: Credential; readonly token?: null } = {},
  ) => {
    const body = more.body === undefined ? undefined : JSON.stringify(more.body);
    const authorization =
      more.as === undefined
        ? `Bearer ${TOKEN}`
        : signMemberRequest({ credential: more.as, method, url: path, body, now: clock.now() });
    const headers = { authorization, ...(body === undefined ? {} : { "content-type": "application/json" }) };
    const reply = await fetch(
      new Request(`http://registry.test${path}`, {
        method,
        headers,
        ...(body === undefined ? {} : { body }),
      }),
    );
    return { status: reply.status, text: await reply.text() };
  };
  const join_ = async (registry: ServerlessRegistry, name: string): Promise<Joined> => {
    const registered = await ask(registry, "POST", "/v1/clusters", { body: { name } });
    const { token } = JSON.parse(registered.text) as { token: string };
    const privateKey = createClusterKey();
    const trustDomain = `${name}.demo.mesh` as TrustDomain;
    const body = { token, csr: createCsr({ privateKey, trustDomain }) };
    const answer = JSON.parse((await ask(registry, "POST", "/v1/join", { body })).text) as {
      caCertificate: string;
    };
    const ca = unwrap(
      loadClusterCa({ certificatePem: answer.caCertificate, privateKeyPem: privateKeyToPem(privateKey) }),
    );
    const credential = (): Credential =>
      issueSvid({ ca, spiffeId: systemSpiffeId(trustDomain, "gateway"), now: clock.now() });
    const snapshot = await ask(registry, "GET", `/v1/clusters/${name}/snapshot`, { as: credential() });
    const payload = JSON.parse(Buffer.from(snapshot.text.split(".")[1] ?? "", "base64url").toString()) as {
      bundles: readonly { readonly x509Authorities: readonly string[] }[];
    };
    const roots = payload.bundles.flatMap(({ x509Authorities }) => x509Authorities);
    return { credential, ca: new X509Certificate(answer.caCertificate), roots };
  };
  const rotate = async (registry: ServerlessRegistry, body: object): Promise<KeyRotation> =>
    unwrap(
      decode(
        keyRotation,
        JSON.parse((await ask(registry, "POST", "/v1/snapshot-keys/rotate", { body })).text),
      ),
    );
  /** What members take: a snapshot that is signed with a key that the root vouches for. */
  const believed = async (registry: ServerlessRegistry, { credential, roots }: Joined) => {
    const set = await ask(registry, "GET", "/v1/snapshot-keys");
    const { keys } = unwrap(verifyKeySet(set.text, { federation: "demo.mesh", roots }));
    const { text } = await ask(registry, "GET", "/v1/clusters/east/snapshot", { as: credential() });
    unwrap(await verifySnapshot(text, keys));
    return JSON.parse(Buffer.from(text.split(".")[0] ?? "", "base64url").toString()).kid as string;
  };
  const get =
    (more: Record<string, string | undefined> = {}) =>
    (key: string): string | undefined =>
      key in more ? more[key] : settings[key];
  const rows = async () => (await local.client.send(new ScanCommand({ TableName: table }))).Items ?? [];
  return { kms, rootKey, clock, rows, lines, start, ask, join: join_, rotate, believed, get };
}

test.skipIf(missing !== undefined)(
  `signing keys rotate by the word of a root that lies in KMS, over cold starts and new key material (${missing ?? "DynamoDB Local"})`,
  { timeout: 60_000 },
  async () => {
    const { kms, rootKey, clock, rows, lines, start, join: join_, rotate, believed } = await scene();
    const first = start();
    const east = await join_(first, "east");
    expect(east.ca.verify(rootKey)).toBe(true);
    const announced = await rotate(first, {});
    expect(announced.keys.map(({ phase }) => phase)).toEqual(["active", "announced"]);
    expect(await believed(first, east)).toBe(announced.keys[0]?.kid);
    // Whoever reads the table gets no key, and the root's is not even sealed there.
    const stored = await rows();
    expect(JSON.stringify(stored)).not.toContain("PRIVATE KEY");
    const sealed = stored.filter(({ pk }) => pk?.S === "vault").map(({ sk }) => sk?.S ?? "");
    expect(sealed.sort()).toEqual(["root", "signing", `signing-${announced.keys[1]?.kid}`]);
    expect(kms.sealed.filter((text) => text.includes("PRIVATE KEY"))).toHaveLength(2);

    // What another instance needs, it opens with KMS, and it signs nothing for that.
    const before = kms.calls.length;
    kms.rotateKeyMaterial("seal-key");
    const second = start();
    clock.advance(HOUR_MS);
    await second.scheduled();
    expect(await believed(second, east)).toBe(announced.keys[1]?.kid);
    const made = kms.calls.slice(before);
    expect(made.filter(({ operation }) => operation === "Decrypt").length).toBeGreaterThan(0);
    expect(new Set(made.map(({ keyId }) => keyId))).toEqual(new Set(["root-key", "seal-key"]));

    // Under the new material too; the first instance follows.
    const replaced = await rotate(second, { compromised: true });
    expect(replaced.keys.map(({ phase }) => phase)).toEqual(["active"]);
    for (const registry of [first, second, start()])
      expect(await believed(registry, east)).toBe(replaced.keys[0]?.kid);
    const north = await join_(second, "north");
    expect(north.ca.verify(rootKey)).toBe(true);
    expect(lines.filter((line) => line.includes('"level":"error"'))).toEqual([]);
  },
);

test.skipIf(missing !== undefined)(
  `a KMS that throttles is waited for; a wrong key is told to the log, and nothing of it to a caller (${missing ?? "DynamoDB Local"})`,
  { timeout: 60_000 },
  async () => {
    const { kms, lines, start, ask, join: join_ } = await scene();
    kms.throttle(2);
    const first = start();
    await join_(first, "east");
    kms.createSealingKey("other-key");
    kms.createSigningKey("other-root");
    for (const [more, reason] of [
      [{ ISTHMUS_SEAL_KMS_KEY: "other-key" }, /sealed with another secret/],
      [{ ISTHMUS_SEAL_KMS_KEY: "no-key" }, /sealed with another secret/],
      [{ ISTHMUS_ROOT_KMS_KEY: "other-root" }, /do not belong together/],
      [{ ISTHMUS_ROOT_KMS_KEY: "no-key" }, /NotFoundException/],
    ] as const) {
      lines.length = 0;
      const reply = await ask(start(more), "GET", "/v1/clusters");
      expect(reply.status, JSON.stringify(more)).toBe(503);
      expect(JSON.parse(reply.text)).toMatchObject({
        code: "ISTH-5008",
        detail: expect.not.stringMatching(/key|kms/i),
      });
      expect(lines.join("\n"), JSON.stringify(more)).toMatch(reason);
    }
    expect((await ask(start(), "GET", "/v1/clusters")).status).toBe(200);
  },
);

test.skipIf(missing !== undefined)(
  `an export opens what KMS sealed and leaves the root's key where it is (${missing ?? "DynamoDB Local"})`,
  { timeout: 60_000 },
  async () => {
    const { kms, start, join: join_, rotate, believed, get } = await scene();
    const from = start();
    const east = await join_(from, "east");
    await rotate(from, { compromised: true });
    const kid = await believed(from, east);
    const file = join(directory(), "backup.ndjson");
    // Without the key it says what is missing, and writes no half of a file.
    const unsealed = await exportTo(get({ ISTHMUS_SEAL_KMS_KEY: undefined }), join(directory(), "none"));
    expect(unsealed).toMatchObject({ error: { detail: expect.stringContaining("ISTHMUS_SEAL_KMS_KEY") } });
    const exported = unwrap(await exportTo(get(), file));
    const text = readFileSync(file, "utf8");
    // The founding key and the one that signs now; of the root only what it is known by.
    expect(text.match(/BEGIN PRIVATE KEY/g)).toHaveLength(2);
    const root = text.split("\n").find((line) => line.includes('"name":"root"'));
    expect(root).toMatch(/BEGIN CERTIFICATE/);
    expect(root).not.toMatch(/PRIVATE/);

    kms.createSealingKey("other-key");
    const elsewhere = directory();
    const { table } = await tableOf(elsewhere);
    const there = {
      ISTHMUS_DYNAMODB_TABLE: table,
      ISTHMUS_STATE_DIR: elsewhere,
      ISTHMUS_SEAL_KMS_KEY: "other-key",
    };
    unwrap(await migrate(get(there)));
    expect(unwrap(await importFrom(get(there), file))).toEqual(exported);
    const to = start(there);
    expect(await believed(to, east)).toBe(kid);
    await join_(to, "north");
    // And it rotates on.
    const next = await rotate(to, { compromised: true });
    expect(await believed(to, east)).toBe(next.keys[0]?.kid);
  },
);
