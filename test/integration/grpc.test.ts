// Longer than other files: two scenes, and everything that gRPC asks of a way between them.
import { once } from "node:events";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import * as grpc from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ECHO, echoClient, type EchoServer, startEcho, unary } from "../fakes/grpc-echo.ts";
import { type Mesh, startMesh } from "../fakes/mesh.ts";
import { until } from "../fakes/until.ts";

const { status } = grpc;
const serialize = ECHO.unary.requestSerialize;
const deserialize = ECHO.unary.responseDeserialize;

describe.each([{ agents: true }, { agents: false }])(
  "gRPC between clusters, agents: $agents",
  ({ agents }) => {
    let echo: EchoServer;
    let mesh: Mesh;
    let client: grpc.Client;
    beforeAll(async () => {
      echo = await startEcho();
      mesh = await startMesh({ agents, endpoint: echo.address });
      client = echoClient(mesh.address("ns/shop/sa/web"));
    });
    afterAll(async () => {
      client.close();
      mesh.close();
      await echo.stop();
    });

    it("carries a unary call with its metadata and trailers", async () => {
      const metadata = new grpc.Metadata();
      metadata.set("x-caller", "web");
      const answer = await unary(client, "hello", {}, metadata);
      expect([answer.code, answer.value]).toEqual([status.OK, "hello"]);
      expect(answer.metadata?.get("x-caller")).toEqual(["web"]);
      expect(answer.trailers.get("x-length")).toEqual(["5"]);
    });

    it.each([status.NOT_FOUND, status.RESOURCE_EXHAUSTED, status.INTERNAL, status.UNAUTHENTICATED])(
      "passes status %i and its details on as the service said them",
      async (code) => {
        const answer = await unary(client, `fail ${code}`);
        expect([answer.code, answer.details]).toEqual([code, "as it was asked to, 100 % of the time: ü"]);
      },
    );

    it("carries a message of 4 MiB both ways", async () => {
      const message = "m".repeat(4 * 1024 * 1024 - 100);
      const { code, value } = await unary(client, message);
      expect([code, value?.length]).toEqual([status.OK, message.length]);
    });

    it("carries 200 calls at once on one connection", async () => {
      const answers = await Promise.all(Array.from({ length: 200 }, (_, at) => unary(client, `call ${at}`)));
      expect(answers.every(({ value }, at) => value === `call ${at}`)).toBe(true);
    });

    it("carries a stream of the server's, and holds it up while nobody reads", async () => {
      const call = client.makeServerStreamRequest(
        ECHO.serverStream.path,
        serialize,
        deserialize,
        "200 50000",
      );
      let messages = 0;
      let bytes = 0;
      call.on("data", (message: string) => {
        messages += 1;
        bytes += message.length;
      });
      await once(call, "end");
      expect([messages, bytes]).toEqual([200, 10_000_000]);
    });

    it("carries a stream of the client's", async () => {
      const answer = await new Promise<string | undefined>((resolve) => {
        const call = client.makeClientStreamRequest(
          ECHO.clientStream.path,
          serialize,
          deserialize,
          (_error: grpc.ServiceError | null, value?: string) => resolve(value),
        );
        for (let count = 0; count < 100; count++) call.write("c".repeat(20_000));
        call.end();
      });
      expect(answer).toBe("100 2000000");
    });

    it("carries messages both ways in turn, on one call", async () => {
      const call = client.makeBidiStreamRequest(ECHO.bidi.path, serialize, deserialize);
      for (const word of ["one", "two", "three"]) {
        call.write(word);
        const [answer] = (await once(call, "data")) as [string];
        expect(answer).toBe(`echo ${word}`);
      }
      call.end();
      const [ended] = (await once(call, "status")) as [grpc.StatusObject];
      expect(ended.code).toBe(status.OK);
    });

    it("cancels at the service what the client cancels", async () => {
      echo.cancelled.length = 0;
      const call = client.makeBidiStreamRequest(ECHO.bidi.path, serialize, deserialize);
      call.on("error", () => {});
      call.write("one");
      await once(call, "data");
      call.cancel();
      await until("the service hears of it", 3_000, () =>
        echo.cancelled.includes("bidi") ? true : undefined,
      );
    });

    it("ends a call at its deadline, at both ends", async () => {
      echo.cancelled.length = 0;
      const { code } = await unary(client, "never", { deadline: Date.now() + 200 });
      expect(code).toBe(status.DEADLINE_EXCEEDED);
      await until("the service hears of it", 3_000, () =>
        echo.cancelled.includes("unary") ? true : undefined,
      );
    });

    it("refuses a workload that has no permission as a gRPC status with the reason", async () => {
      const stranger = echoClient(mesh.address("ns/shop/sa/batch"));
      const answer = await unary(stranger, "hello");
      stranger.close();
      expect(answer.code).toBe(status.PERMISSION_DENIED);
      expect(answer.details).toContain("ISTH-2001");
      expect(answer.trailers.get("isthmus-code")).toEqual(["ISTH-2001"]);
    });
  },
);

describe("gRPC by hand", () => {
  let mesh: Mesh;
  let server: http2.Http2Server;
  let behave: (stream: http2.ServerHttp2Stream) => void = () => {};
  beforeAll(async () => {
    server = http2.createServer();
    server.on("stream", (stream) => {
      stream.on("error", () => {});
      stream.resume();
      behave(stream);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    mesh = await startMesh({ agents: false, endpoint: `127.0.0.1:${port}` });
  });
  afterAll(() => {
    mesh.close();
    server.close();
  });

  async function ask(extra: http2.OutgoingHttpHeaders, body?: Buffer) {
    const session = http2.connect(`http://${mesh.address("ns/shop/sa/web")}`);
    const stream = session.request(
      {
        ":method": "POST",
        ":path": "/test.Echo/Unary",
        "content-type": "application/grpc",
        te: "trailers",
        ...extra,
      },
      { endStream: body === undefined },
    );
    stream.on("error", () => {});
    if (body !== undefined) stream.end(body);
    let head: http2.IncomingHttpHeaders | undefined;
    let trailers: http2.IncomingHttpHeaders | undefined;
    let received = Buffer.alloc(0);
    stream.once("response", (fields) => {
      head = fields;
    });
    stream.once("trailers", (fields) => {
      trailers = fields;
    });
    stream.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
    });
    await new Promise<void>((resolve) => stream.once("close", () => resolve()));
    session.destroy();
    return { head, trailers, received, rstCode: stream.rstCode };
  }

  it("answers DEADLINE_EXCEEDED itself when the deadline passes at the gateway", async () => {
    behave = () => {};
    const { head } = await ask({ "grpc-timeout": "150m" });
    expect([head?.[":status"], head?.["grpc-status"]]).toEqual([200, "4"]);
    expect(head?.["grpc-message"]).toContain("ISTH-");
  });

  it("ends an answer that has begun with DEADLINE_EXCEEDED in its trailers", async () => {
    behave = (stream) => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" });
      stream.write(Buffer.of(0, 0, 0, 0, 1, 65));
    };
    const { trailers, received } = await ask({ "grpc-timeout": "250m" });
    expect([received.length, trailers?.["grpc-status"]]).toEqual([6, "4"]);
  });

  it.each([
    ["while it has not answered", false, undefined],
    ["between its head and its first message", true, undefined],
    ["in the middle of a message", true, Buffer.of(0, 0, 0, 0, 9, 65)],
  ] as const)(
    "says UNAVAILABLE and its own code when the service is killed %s",
    async (_when, hasHead, part) => {
      behave = (stream) => {
        if (hasHead) stream.respond({ ":status": 200, "content-type": "application/grpc" });
        if (part !== undefined) stream.write(part);
        setTimeout(() => stream.session?.destroy(), 50);
      };
      const { head, trailers, received } = await ask({}, Buffer.of(0, 0, 0, 0, 1, 65));
      const said = hasHead ? trailers : head;
      expect([head?.[":status"], said?.["grpc-status"]]).toEqual([200, "14"]);
      expect([said?.["isthmus-code"], received.length]).toEqual(["ISTH-3005", part?.length ?? 0]);
      expect(said?.["grpc-message"]).toContain("ISTH-3005");
    },
  );

  it("passes a status on whose message ends with a space, as gRPC's libraries send it", async () => {
    behave = (stream) =>
      stream.respond(
        { ":status": 200, "content-type": "application/grpc", "grpc-status": 5, "grpc-message": "no such: " },
        { endStream: true },
      );
    const { head } = await ask({});
    // The message itself node:http2 leaves out.
    expect(head?.["grpc-status"]).toBe("5");
  });

  it.each(["head", "trailers"] as const)("says what was wrong with %s of too many fields", async (part) => {
    let calls = 0;
    behave = (stream) => {
      calls += 1;
      const many = Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`x-${at}`, "v"]));
      const fields = { ":status": 200, "content-type": "application/grpc" };
      if (part === "head") return stream.respond({ ...fields, ...many });
      stream.respond(fields, { waitForTrailers: true });
      stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0", ...many }));
      stream.end(Buffer.of(0, 0, 0, 0, 1, 65));
    };
    const { head, trailers } = await ask({});
    const said = part === "head" ? head : trailers;
    expect([said?.["grpc-status"], said?.["isthmus-code"], calls]).toEqual(["14", "ISTH-3011", 1]);
    expect(said?.["grpc-message"]).toContain("more than 110 fields");
  });

  it("breaks any other answer off, so that half of it does not look whole", async () => {
    behave = (stream) => {
      stream.respond({ ":status": 200 });
      setTimeout(() => stream.session?.destroy(), 50);
    };
    const { head, trailers, rstCode } = await ask({ "content-type": "text/plain" }, Buffer.from("x"));
    expect([head?.[":status"], trailers, rstCode]).toEqual([200, undefined, http2.constants.NGHTTP2_CANCEL]);
  });

  it("passes a reset of the service on as it came", async () => {
    behave = (stream) => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" });
      setTimeout(() => stream.destroy(new Error("on purpose")), 50);
    };
    const { trailers, rstCode } = await ask({}, Buffer.of(0, 0, 0, 0, 1, 65));
    expect([trailers, rstCode]).toEqual([undefined, http2.constants.NGHTTP2_INTERNAL_ERROR]);
  });

  it.each(["1", "S", "123456789S", "1x", "-1S", ""])("takes no notice of the deadline %j", async (value) => {
    behave = (stream) =>
      stream.respond(
        { ":status": 200, "grpc-status": 0, "content-type": "application/grpc" },
        { endStream: true },
      );
    const { head } = await ask({ "grpc-timeout": value });
    expect(head?.["grpc-status"]).toBe("0");
  });

  it("passes a message that lies about its length on without keeping memory for it", async () => {
    const before = process.memoryUsage().arrayBuffers;
    behave = (stream) => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      // Says 4 GiB - 1, sends 3 octets.
      stream.end(Buffer.of(0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3));
    };
    const { received, trailers } = await ask({}, Buffer.of(0, 0xff, 0xff, 0xff, 0xff, 9));
    expect([received.length, trailers?.["grpc-status"]]).toEqual([8, "0"]);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 1024 * 1024);
  });

  it("tells UNAVAILABLE when the service resets the call before it answers", async () => {
    behave = (stream) => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    const { head } = await ask({});
    expect(head?.["grpc-status"]).toBe("14");
  });

  it("resets the call when the service breaks off in the middle of its answer", async () => {
    behave = (stream) => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" });
      stream.write("half");
      // `close` would say END_STREAM first.
      setImmediate(() => stream.destroy(new Error("broken")));
    };
    const { trailers, rstCode } = await ask({});
    expect([trailers, rstCode]).toEqual([undefined, http2.constants.NGHTTP2_INTERNAL_ERROR]);
  });

  it("sends a call that the service refused unprocessed once more, with its message", async () => {
    let calls = 0;
    behave = (stream) => {
      calls += 1;
      if (calls === 1) return stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
      let bytes = 0;
      stream.on("data", (chunk: Buffer) => (bytes += chunk.length));
      stream.once("end", () =>
        stream.respond({ ":status": 200, "grpc-status": "0", "x-bytes": bytes }, { endStream: true }),
      );
    };
    const { head } = await ask({}, Buffer.alloc(1_000));
    expect([calls, head?.["grpc-status"], head?.["x-bytes"]]).toEqual([2, "0", "1000"]);
  });
});
