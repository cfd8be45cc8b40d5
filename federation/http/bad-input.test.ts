// Longer than most: one table per kind of bad input, all over the same scene.
import { createHmac, sign } from "node:crypto";
import { describe, expect, test } from "vitest";
import { createMemoryLog } from "../../test/fakes/memory-log.ts";
import {
  ADMIN_TOKEN,
  exportOf,
  type JoinedCluster,
  openRegistryScene,
  type RegistryScene,
  type SceneReply,
} from "../../test/fakes/registry-scene.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { IN_PROCESS } from "../../test/fakes/scene-runtime.ts";
import { federationInfo } from "../model/wire/api.ts";
import { decode } from "../model/wire/decode.ts";
import { createSigningKey, loadSigningKey, mintCallerToken, signMemberRequest } from "../trust/index.ts";

const directory = useTempDirs();

const PATH = "/v1/clusters/east/services";
const BODY = JSON.stringify({ services: [] });

async function scene() {
  const log = createMemoryLog();
  const opened = await openRegistryScene({ directory: directory(), log });
  const east = await opened.join("east");
  const put = (authorization: string, path = PATH): Promise<SceneReply> =>
    opened.send("PUT", path, { token: null, raw: BODY, headers: { authorization } });
  return { ...opened, log, east, put };
}

/** Every refusal is one: status, media type, code, and nothing that a cache may keep. */
function expectProblem(reply: SceneReply, status: number, code: string, about = ""): void {
  expect(reply, about).toMatchObject({ status, json: { status, code } });
  expect(Object(reply.json), about).toMatchObject({
    type: `urn:isthmus:problem:${code}`,
    title: expect.any(String),
    detail: expect.any(String),
    fix: expect.any(String),
  });
  expect(reply.headers.get("content-type"), about).toBe("application/problem+json");
  expect(reply.headers.get("cache-control"), about).toBe("no-store");
}

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const partOf = (token: string, index: number) =>
  JSON.parse(Buffer.from(token.split(".")[index] ?? "", "base64url").toString()) as Record<string, unknown>;
const headerOf = (token: string) => partOf(token, 0);
const claimsOf = (token: string) => partOf(token, 1);

/** The same claims, with other words about how they are signed. */
function forge(token: string, header: object, key?: Buffer | string, claims = claimsOf(token)): string {
  const input = `${part({ ...headerOf(token), ...header })}.${part(claims)}`;
  const mac = key === undefined ? "" : createHmac("sha256", key).update(input).digest("base64url");
  return `${input}.${mac}`;
}

async function operatorToken({ send }: RegistryScene): Promise<string> {
  const body = { role: "admin", subject: "ops", expiresInSeconds: 60 };
  return String(Reflect.get(Object((await send("POST", "/v1/operator-tokens", { body })).json), "token"));
}

function memberToken(east: JoinedCluster, now: number, url = PATH, method = "PUT"): string {
  const signed = signMemberRequest({ credential: east.credential(), method, url, body: BODY, now });
  return signed.slice(signed.indexOf(" ") + 1);
}

describe("algorithm confusion", () => {
  test("no operator or join token speaks for itself: none, HS256 with the public key, another curve, a key it brings", async () => {
    const made = await scene();
    const { send, register } = made;
    const info = decode(federationInfo, (await send("GET", "/v1/federation", { token: null })).json);
    const [jwk] = info.ok ? info.value.snapshotKeys.keys : [];
    const publicKey = jwk?.["x"];
    if (typeof publicKey !== "string") throw new Error("no public key");
    const mallory = loadSigningKey(createSigningKey().privateKeyPem);
    if (!mallory.ok) throw new Error("no key");
    const forgeries = (token: string): readonly string[] => [
      forge(token, { alg: "none" }),
      forge(token, { alg: "NONE" }),
      forge(token, { alg: "HS256" }, Buffer.from(publicKey, "base64url")),
      forge(token, { alg: "HS256" }, JSON.stringify(jwk)),
      forge(token, { alg: "ES256" }),
      // A key of the caller's own, brought along in every way that JOSE knows.
      ...[
        { jwk: mallory.value.publicJwk },
        { jku: "https://mallory.example/keys" },
        { kid: mallory.value.kid },
        { crit: ["exp"] },
      ].map((header) => {
        const input = `${part({ ...headerOf(token), ...header })}.${part(claimsOf(token))}`;
        const signature = sign(null, Buffer.from(input), mallory.value.privateKey);
        return `${input}.${signature.toString("base64url")}`;
      }),
    ];
    const operator = await operatorToken(made);
    expect((await send("GET", "/v1/clusters", { token: operator })).status).toBe(200);
    for (const token of forgeries(operator))
      expectProblem(await send("GET", "/v1/clusters", { token }), 401, "ISTH-5001", token);
    const join = await register("north");
    const csr = made.east.csr();
    for (const token of forgeries(join))
      expectProblem(
        await send("POST", "/v1/join", { token: null, body: { token, csr } }),
        401,
        "ISTH-1031",
        token,
      );
  });

  test("no member request does: none, HS256 with the certificate's key, EdDSA, no certificate, another's", async () => {
    const { clock, east, join, put } = await scene();
    const west = await join("west");
    const token = memberToken(east, clock.now());
    const [leaf = ""] = headerOf(token)["x5c"] as string[];
    const theirs = headerOf(memberToken(west, clock.now()));
    for (const forged of [
      forge(token, { alg: "none" }),
      forge(token, { alg: "HS256" }, Buffer.from(leaf, "base64")),
      forge(token, { alg: "HS256" }, leaf),
      `${forge(token, { alg: "EdDSA" })}${token.split(".")[2]}`,
      forge(token, { x5c: [] }),
      // East's claims and signature behind west's certificate, and the other way round.
      [part(theirs), ...token.split(".").slice(1)].join("."),
      [...token.split(".").slice(0, 2), memberToken(west, clock.now()).split(".")[2]].join("."),
      // Another role, or another cluster, than the certificate's.
      [
        token.split(".")[0],
        part({ ...claimsOf(token), sub: "spiffe://west.demo.mesh/ns/isthmus/sa/gateway" }),
        token.split(".")[2],
      ].join("."),
    ])
      expectProblem(await put(`Isthmus-Member ${forged}`), 401, "ISTH-1041", forged);
    expect((await put(`Isthmus-Member ${token}`)).status).toBe(200);
  });
});

describe("a token for something else", () => {
  test("is refused, however well it is signed: each kind has its own type and says what it is for", async () => {
    const made = await scene();
    const { send, register, clock, east, put } = made;
    const [operator, join] = [await operatorToken(made), await register("north")];
    const csr = east.csr();
    expectProblem(await send("GET", "/v1/clusters", { token: join }), 401, "ISTH-5001");
    for (const token of [operator, memberToken(east, clock.now())])
      expectProblem(await send("POST", "/v1/join", { token: null, body: { token, csr } }), 401, "ISTH-1031");
    expectProblem(
      await send("GET", "/v1/clusters", { token: memberToken(east, clock.now()) }),
      401,
      "ISTH-5001",
    );
    const caller = mintCallerToken({
      credential: east.credential(),
      audience: "http://registry.test",
      now: clock.now(),
    });
    for (const token of [caller, operator, join])
      expectProblem(await put(`Isthmus-Member ${token}`), 401, "ISTH-1041");
    // A signature is for one method and one URL, query and all.
    for (const [url, method] of [
      ["/v1/clusters/east/declared", "PUT"],
      [`${PATH}?x=1`, "PUT"],
      [`/${PATH}`, "PUT"],
      [PATH, "POST"],
    ])
      expectProblem(
        await put(`Isthmus-Member ${memberToken(east, clock.now(), url, method)}`),
        401,
        "ISTH-1041",
      );
  });

  test("or of another federation is refused, though it was signed for the same audience", async () => {
    const other = await openRegistryScene({ directory: directory() });
    const foreign = await other.join("east");
    const { send, clock, put, east } = await scene();
    const token = await operatorToken(other);
    expectProblem(await send("GET", "/v1/clusters", { token }), 401, "ISTH-5001");
    const body = { token: await other.register("south"), csr: east.csr() };
    expectProblem(await send("POST", "/v1/join", { token: null, body }), 401, "ISTH-1031");
    expectProblem(await put(`Isthmus-Member ${memberToken(foreign, clock.now())}`), 401, "ISTH-1041");
  });
});

describe("clocks", () => {
  test("may differ by half a minute and no more; every token ends at its time", async () => {
    const made = await scene();
    const { send, register, clock, east, put } = made;
    const signedAt = async (skewMs: number) =>
      put(`Isthmus-Member ${memberToken(east, clock.now() + skewMs)}`);
    for (const skewMs of [29_000, -29_000, -80_000])
      expect((await signedAt(skewMs)).status, String(skewMs)).toBe(200);
    for (const skewMs of [32_000, 3_600_000, -92_000, -3_600_000]) {
      const reply = await signedAt(skewMs);
      expect(reply.status, String(skewMs)).toBe(401);
      // Beyond its life, the certificate that the member made for itself is the first that is out of time.
      expectProblem(reply, 401, "ISTH-1042", String(skewMs));
    }
    const long = { ...claimsOf(memberToken(east, clock.now())), exp: Math.floor(clock.now() / 1000) + 3_600 };
    const stretched = memberToken(east, clock.now()).split(".");
    expectProblem(
      await put(`Isthmus-Member ${[stretched[0], part(long), stretched[2]].join(".")}`),
      401,
      "ISTH-1041",
    );
    const operator = await operatorToken(made);
    const body = { token: await register("north"), csr: east.csr() };
    clock.advance(15 * 60_000 + 1_000);
    expectProblem(await send("GET", "/v1/clusters", { token: operator }), 401, "ISTH-5001");
    expectProblem(await send("POST", "/v1/join", { token: null, body }), 401, "ISTH-1032");
  });
});

describe("names", () => {
  // e with an acute accent in one code point and in two, Cyrillic e, fullwidth e, a zero-width space, a soft hyphen,
  // Turkish dotless i, upper case, the path upwards in several spellings, and what ends strings or lines elsewhere.
  const STRANGE = [
    "\u00e9ast",
    "e\u0301ast",
    "\u0435ast",
    "\uff45ast",
    "ea\u200bst",
    "ea\u00adst",
    "\u0131st",
    "EAST",
    "East",
    "..",
    "../west",
    "..\\west",
    "..%2fwest",
    "east/../west",
    "/etc/passwd",
    "east\u0000",
    "east\n",
    " east",
    "east ",
    "east.",
    "east%00",
    "xn--",
  ] as const;

  test("are one spelling each: nothing that looks like east is east, and no path leads out of a name", async () => {
    const { send, east, clock, state } = await scene();
    const before = (await state()).revision;
    for (const name of STRANGE) {
      const refused = await send("POST", "/v1/clusters", { body: { name } });
      expectProblem(refused, 400, "ISTH-5006", name);
      expect(Object(refused.json).issues).toMatchObject([{ path: "name" }]);
      const export_ = exportOf("east", "cart", "west") as { metadata: object };
      for (const field of ["cluster", "namespace", "name"]) {
        const resources = [{ ...export_, metadata: { ...export_.metadata, [field]: name } }];
        expectProblem(
          await send("POST", "/v1/apply", { body: { resources } }),
          400,
          "ISTH-5006",
          `${field} ${name}`,
        );
      }
    }
    const spelled = STRANGE.map((name) => encodeURIComponent(name)).filter((name) => !name.startsWith(".."));
    for (const name of [...spelled, "..%2fwest", "%2e%2e%2fwest", "%252e%252e"]) {
      for (const path of [
        `/v1/clusters/${name}`,
        `/v1/bundles/${name}.demo.mesh`,
        `/v1/resources/ServiceExport/${name}/shop/cart`,
      ]) {
        const reply = await send(path.includes("resources") ? "DELETE" : "GET", path);
        expectProblem(reply, 404, "ISTH-5003", path);
      }
      const path = `/v1/clusters/${name}/services`;
      const authorization = `Isthmus-Member ${memberToken(east, clock.now(), path)}`;
      const reply = await send("PUT", path, { token: null, raw: BODY, headers: { authorization } });
      expect(reply.status, path).toBe(403);
      expectProblem(reply, 403, "ISTH-5002", path);
    }
    expect((await state()).revision).toBe(before);
  });

  test("that mean something to JavaScript are names like any other", async () => {
    const { join, send, apply } = await scene();
    for (const name of ["constructor", "tostring", "hasownproperty"]) {
      const cluster = await join(name);
      const path = `/v1/clusters/${name}/snapshot`;
      expect((await send("GET", path, { as: cluster.credential() })).status, name).toBe(200);
      expect((await apply(exportOf(name, "constructor", "east"))).status).toBe(200);
    }
    for (const [method, path] of [
      ["GET", "/v1/clusters/__proto__"],
      ["GET", "/v1/bundles/__proto__"],
      ["DELETE", "/v1/resources/__proto__/east/shop/cart"],
      ["DELETE", "/v1/resources/ServiceExport/__proto__/shop/cart"],
    ] as const)
      expect((await send(method, path)).status, path).toBeGreaterThanOrEqual(400);
    const polluted = `{"name":"south","__proto__":{"dryRun":true},"constructor":{"prototype":{"x":1}}}`;
    expectProblem(await send("POST", "/v1/clusters", { raw: polluted }), 400, "ISTH-5006");
    expect(Object.prototype).not.toHaveProperty("x");
  });
});

describe("secrets", () => {
  test("stand in no answer and no line of the log, whatever is wrong with the request that brought them", async () => {
    const made = await scene();
    const { send, register, clock, east, log, put } = made;
    const [operator, join] = [await operatorToken(made), await register("north")];
    const member = memberToken(east, clock.now());
    const csr = east.csr();
    const replies = [
      await send("GET", "/v1/clusters", { token: `${ADMIN_TOKEN}x` }),
      await send("GET", "/v1/nowhere"),
      await send("GET", "/v1/clusters", { token: operator.slice(0, -3) }),
      await send("GET", "/v1/clusters", { token: null, headers: { authorization: `Basic ${ADMIN_TOKEN}` } }),
      await send("GET", "/v1/clusters", { token: null, headers: { authorization: ADMIN_TOKEN } }),
      // Each breaks the JSON elsewhere: parsers like to quote what they stumbled over.
      await send("POST", "/v1/join", { token: null, raw: join }),
      await send("POST", "/v1/join", { token: null, raw: `{"token": ${join}}` }),
      await send("POST", "/v1/join", { token: null, raw: `{"token":"${join}" ${join}` }),
      await send("POST", "/v1/join", { token: null, raw: `{"csr":"","token":"${join}` }),
      await send("POST", "/v1/join", { token: null, body: { token: join, csr: "x", more: join } }),
      await send("POST", "/v1/join", { token: null, body: { token: `${join}x`, csr } }),
      await send("POST", "/v1/join", { token: null, body: { token: [join], csr: { join } } }),
      await put(`Isthmus-Member ${member.slice(0, -2)}`),
      await put(`Isthmus-Member ${member} ${member}`),
    ];
    const secrets = [ADMIN_TOKEN, operator, join, member];
    const told = [...replies.map(({ text }) => text), JSON.stringify(log.lines)];
    for (const reply of replies) expect(reply.status).toBeGreaterThanOrEqual(400);
    // Not even a piece of one.
    for (const text of told)
      for (const secret of secrets)
        for (let at = 0; at + 8 <= secret.length; at++)
          if (text.includes(secret.slice(at, at + 8))) expect.fail(`${secret.slice(at, at + 8)} in ${text}`);
    if (IN_PROCESS) expect(log.of("request refused")).toHaveLength(replies.length);
  });
});
