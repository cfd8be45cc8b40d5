import http2 from "node:http2";
import * as grpc from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CachingResolver, guardedRanges, systemLookups } from "../../gateway/dataplane/index.ts";
import { type AlpnTry, negotiate } from "../fakes/alpn-client.ts";
import { TestSecrets } from "../fakes/egress-scene.ts";
import { ECHO, type EchoServer, startEcho, unary } from "../fakes/grpc-echo.ts";
import { type Mesh, startMesh } from "../fakes/mesh.ts";
import { createOutsideCa } from "../fakes/outside-pki.ts";
import { until } from "../fakes/until.ts";

const OPEN = "echo.example.com";
const STRICT = "partner.example.com";
const { status } = grpc;

describe("gRPC from outside the mesh", () => {
  const sites = createOutsideCa("sites");
  const partners = createOutsideCa("partners");
  const secrets = new TestSecrets();
  const clients: grpc.Client[] = [];
  let echo: EchoServer;
  let mesh: Mesh;
  let port: string;

  beforeAll(async () => {
    echo = await startEcho();
    secrets.set("open", sites.issue({ dns: [OPEN] }));
    secrets.set("strict", sites.issue({ dns: [STRICT] }));
    secrets.setCa("partners", partners.certificatePem);
    const ports = [{ port: 80, protocol: "http" as const, appProtocol: "grpc" }];
    const service = { namespace: "shop", name: "cart", port: 80 };
    const clientValidation = { caCertificateRefs: [{ name: "partners" }], mode: "Required" as const };
    mesh = await startMesh({
      agents: false,
      endpoint: echo.address,
      outside: {
        secrets,
        resolver: new CachingResolver({ ...systemLookups([]), now: Date.now }),
        guarded: guardedRanges(),
        listen: { host: "127.0.0.1", port: 0 },
        stop: () => {},
      },
      change: (snapshot) =>
        snapshot.cluster === "west"
          ? snapshot
          : {
              ...snapshot,
              exports: snapshot.exports.map((one) => ({ ...one, ports })),
              ingress: [
                {
                  ...service,
                  hostnames: [OPEN],
                  paths: [{ type: "PathPrefix", value: "/test.Echo" }],
                  tls: { certificateRef: { name: "open" } },
                },
                {
                  ...service,
                  hostnames: [STRICT],
                  tls: { certificateRef: { name: "strict" }, clientValidation },
                },
              ],
            },
    });
    port = mesh.member("east gateway").proxy.outside?.()?.split(":").at(-1) ?? "";
  });
  afterAll(async () => {
    for (const client of clients) client.close();
    mesh.close();
    await echo.stop();
  });

  const clientFor = (host: string, key?: string, chain?: string): grpc.Client => {
    const pem = (text: string | undefined) => (text === undefined ? null : Buffer.from(text));
    const credentials = grpc.credentials.createSsl(Buffer.from(sites.certificatePem), pem(key), pem(chain));
    const client = new grpc.Client(`127.0.0.1:${port}`, credentials, {
      "grpc.ssl_target_name_override": host,
      "grpc.default_authority": host,
    });
    clients.push(client);
    return client;
  };

  it("carries calls with their metadata, trailers and statuses", async () => {
    const client = clientFor(OPEN);
    const metadata = new grpc.Metadata();
    metadata.set("x-caller", "shopper");
    const answer = await unary(client, "hello", {}, metadata);
    expect([answer.code, answer.value]).toEqual([status.OK, "hello"]);
    expect(answer.metadata?.get("x-caller")).toEqual(["shopper"]);
    expect(answer.trailers.get("x-length")).toEqual(["5"]);
    const failed = await unary(client, `fail ${status.NOT_FOUND}`);
    expect([failed.code, failed.details]).toEqual([
      status.NOT_FOUND,
      "as it was asked to, 100 % of the time: ü",
    ]);
    const message = "m".repeat(2 * 1024 * 1024);
    expect((await unary(client, message)).value?.length).toBe(message.length);
    const answers = await Promise.all(Array.from({ length: 200 }, (_, at) => unary(client, `call ${at}`)));
    expect(answers.every(({ value }, at) => value === `call ${at}`)).toBe(true);
  });

  it("carries streams both ways", async () => {
    const { path, requestSerialize, responseDeserialize } = ECHO.bidi;
    const call = clientFor(OPEN).makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    const heard: string[] = [];
    call.on("data", (text: string) => heard.push(text)).on("error", () => {});
    for (const word of ["one", "two", "three"]) {
      call.write(word);
      await until(`it says ${word}`, 3_000, () => (heard.join(" ").includes(word) ? true : undefined));
    }
    const ended = new Promise((resolve) => call.once("status", ({ code }) => resolve(code)));
    call.end();
    expect(await ended).toBe(status.OK);
  });

  it("is cancelled at the service when the caller's deadline passes", async () => {
    const before = echo.cancelled.length;
    const { code } = await unary(clientFor(OPEN), "never", { deadline: Date.now() + 300 });
    expect(code).toBe(status.DEADLINE_EXCEEDED);
    await until("the service hears of it", 3_000, () => (echo.cancelled.length > before ? true : undefined));
  });

  it("refuses by gRPC's own statuses, with the code: another path, no client certificate", async () => {
    const { requestSerialize, responseDeserialize } = ECHO.unary;
    const wrong = await new Promise<grpc.ServiceError | null>((resolve) => {
      clientFor(OPEN).makeUnaryRequest(
        "/admin.Admin/Drop",
        requestSerialize,
        responseDeserialize,
        "x",
        resolve,
      );
    });
    expect(wrong).toMatchObject({
      code: status.UNIMPLEMENTED,
      details: expect.stringContaining("ISTH-3001"),
    });
    const denied = await unary(clientFor(STRICT), "hello");
    expect([denied.code, denied.details]).toEqual([
      status.PERMISSION_DENIED,
      expect.stringContaining("ISTH-2211"),
    ]);
    const { privateKeyPem, certificatePem } = partners.issue({ commonName: "buyer" });
    expect((await unary(clientFor(STRICT, privateKeyPem, certificatePem), "hello")).value).toBe("hello");
  });

  it("refuses an :authority that SNI does not name", async () => {
    const session = http2.connect(`https://127.0.0.1:${port}`, {
      servername: OPEN,
      ca: sites.certificatePem,
    });
    const stream = session.request({ ":path": "/test.Echo/Unary", ":authority": STRICT });
    const head = await new Promise<http2.IncomingHttpHeaders>((resolve, reject) =>
      stream.once("response", resolve).once("error", reject),
    );
    expect([head[":status"], head["isthmus-code"]]).toEqual([421, "ISTH-2204"]);
    session.destroy();
  });

  it.each<readonly [offered: AlpnTry["offered"], says: AlpnTry["says"], expected: string]>([
    [["h2"], "preface", "h2: HTTP/2"],
    [["http/1.1", "h2"], "preface", "h2: HTTP/2"],
    [["http/1.1"], "request", "http/1.1: HTTP/1.1 404"],
    [undefined, "request", "none: HTTP/1.1 404"],
    // What was not chosen is not spoken: prior knowledge is for connections without TLS (RFC 9113 §3.3).
    [["http/1.1"], "preface", "http/1.1: HTTP/1.1 505"],
    [undefined, "preface", "none: HTTP/1.1 505"],
    [["spdy/3", "h3"], "request", "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL"],
  ])("a host whose service speaks HTTP/2, offered %j and told a %s: %s", async (offered, says, expected) => {
    const site = { port: Number(port), servername: OPEN, ca: sites.certificatePem };
    expect(await negotiate({ ...site, ...(offered === undefined ? {} : { offered }), says })).toBe(expected);
  });
});
