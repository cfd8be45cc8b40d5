import * as grpc from "@grpc/grpc-js";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  alive,
  type Federation,
  type MemberName,
  startFederation,
  twoClusters,
} from "../fakes/federation.ts";
import { type FrameWatch, watchFrames } from "../fakes/frame-watch.ts";
import { ECHO, echoClient, type EchoServer, startEcho, unary } from "../fakes/grpc-echo.ts";
import { until } from "../fakes/until.ts";
import { ErrorCode } from "../../gateway/dataplane/http2/error-code.ts";

const { status } = grpc;
const serialize = ECHO.unary.requestSerialize;
const deserialize = ECHO.unary.responseDeserialize;

const MEMBERS = [
  { role: "agent", cluster: "west" },
  { role: "gateway", cluster: "west" },
  { role: "gateway", cluster: "east" },
  { role: "agent", cluster: "east" },
] as const satisfies readonly MemberName[];

/** Long-lived streams of every kind; that of the service is held up by its reader, or slow by itself. */
function openStreams(client: grpc.Client, pace: "held" | "slow") {
  const ended = new Map<string, grpc.StatusObject>();
  const watch = (name: string, call: grpc.Client | NodeJS.EventEmitter): void => {
    const emitter = call as NodeJS.EventEmitter;
    emitter.on("error", () => {});
    emitter.once("status", (how: grpc.StatusObject) => ended.set(name, how));
  };
  const bidi = client.makeBidiStreamRequest(ECHO.bidi.path, serialize, deserialize);
  // The service cannot send all of it before somebody reads: 40 MB are more than all windows on the way hold.
  const size = pace === "held" ? "800 50000" : "slow";
  const server = client.makeServerStreamRequest(ECHO.serverStream.path, serialize, deserialize, size);
  let counted: string | undefined;
  const upload = client.makeClientStreamRequest(
    ECHO.clientStream.path,
    serialize,
    deserialize,
    (_error: grpc.ServiceError | null, value?: string) => (counted = value),
  );
  watch("bidi", bidi);
  watch("server", server);
  watch("upload", upload);
  let received = 0;
  server.on("data", () => {
    received += 1;
  });
  if (pace === "held") server.pause();
  let sent = 0;
  let echoes = 0;
  bidi.on("data", () => {
    echoes += 1;
  });
  const exchange = async (): Promise<void> => {
    const before = echoes;
    bidi.write("word");
    await until("the word comes back", 5_000, () => (echoes > before ? true : undefined));
    upload.write("u");
    sent += 1;
  };
  return {
    ended,
    exchange,
    /** Ends all of them in good order, and says how they ended. */
    async finish() {
      bidi.end();
      upload.end();
      server.resume();
      await until("all streams end", 15_000, () => (ended.size === 3 ? true : undefined));
      const codes = Object.fromEntries(
        [...ended].map(([name, { code, details }]) => [
          name,
          code === status.OK ? "OK" : `${code} ${details}`,
        ]),
      );
      return { codes, received, counted, sent };
    },
    cancel() {
      for (const call of [bidi, server, upload]) call.cancel();
    },
  };
}

/** Unary calls and short streams, one after the other on several lanes, until it is stopped. */
function startCalls(client: grpc.Client) {
  const seen = new Map<string, number>();
  let isRunning = true;
  const count = (what: string): void => void seen.set(what, (seen.get(what) ?? 0) + 1);
  const lane = async (): Promise<void> => {
    while (isRunning) {
      const { code, details } = await unary(client, "hello");
      count(code === status.OK ? "OK" : `unary ${code} ${details}`);
      const call = client.makeBidiStreamRequest(ECHO.bidi.path, serialize, deserialize);
      call.on("error", () => {});
      const over = new Promise<grpc.StatusObject>((resolve) => call.once("status", resolve));
      call.on("data", () => call.end());
      call.write("x");
      const how = await over;
      count(how.code === status.OK ? "OK" : `stream ${how.code} ${how.details}`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  };
  const lanes = Array.from({ length: 4 }, () => lane().catch((error: unknown) => count(String(error))));
  return {
    seen,
    async stop() {
      isRunning = false;
      await Promise.all(lanes);
      return Object.fromEntries(seen);
    },
  };
}

describe("gateways and agents that are replaced one after the other under long gRPC streams", () => {
  let echo: EchoServer;
  let federation: Federation;
  let watch: FrameWatch;
  let client: grpc.Client;
  const start = async (drainSeconds: number): Promise<void> => {
    echo = await startEcho();
    const env = { ISTHMUS_DRAIN_SECONDS: String(drainSeconds) };
    federation = await startFederation(twoClusters({ cart: echo.address }), undefined, env);
    const { host, port } = federation.address("web");
    // grpc-js refuses by itself what it had queued when GOAWAY came (half of all GOAWAYs, against a server that refuses nothing), and
    // sends it again unless told not to. What the server refuses is therefore counted on the wire.
    watch = await watchFrames(host, port);
    client = echoClient(watch.address, { "grpc.enable_retries": 1 });
  };
  const refusedByServer = (): number => watch.resets.get(ErrorCode.refusedStream) ?? 0;
  const stop = async (): Promise<void> => {
    client.close();
    await watch.stop();
    await federation.stop();
    await echo.stop();
  };

  describe("with time to drain", () => {
    beforeAll(() => start(60), 70_000);
    afterAll(stop, 30_000);

    it.each(MEMBERS)(
      "the $role of $cluster ends when the last of them does, and no call fails",
      async (member) => {
        const streams = openStreams(client, "held");
        await streams.exchange();
        const calls = startCalls(client);
        const before = federation.signal(member, "SIGTERM");
        await federation.returned(member, before);
        // Whatever drains: each stream goes on, and new calls go by the new process.
        for (let turn = 0; turn < 20; turn++) {
          await streams.exchange();
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        expect([...streams.ended.keys()]).toEqual([]);
        expect(alive(before)).toBe(true);
        const { codes, received, counted, sent } = await streams.finish();
        expect(codes).toEqual({ bidi: "OK", server: "OK", upload: "OK" });
        expect([received, counted]).toEqual([800, `${sent} ${sent}`]);
        const seen = await calls.stop();
        expect(Object.keys(seen)).toEqual(["OK"]);
        expect(seen["OK"]).toBeGreaterThan(20);
        expect(refusedByServer()).toBe(0);
        // Idle sessions of the pool end with their own time-outs; the streams held it up, and nothing else does for long.
        await until("the old process is gone", 15_000, () => (alive(before) ? undefined : true));
      },
      60_000,
    );
  });

  describe("when the time to drain is over", () => {
    beforeAll(() => start(2), 70_000);
    afterAll(stop, 30_000);
    let streams: ReturnType<typeof openStreams> | undefined;
    afterEach(() => streams?.cancel());

    // Of each role one, near and far: a third would only take longer.
    it.each([MEMBERS[0], MEMBERS[2]] as const)(
      "the $role of $cluster cuts them as UNAVAILABLE, not before, and no new call fails",
      async (member) => {
        streams = openStreams(client, "slow");
        await streams.exchange();
        const calls = startCalls(client);
        const at = performance.now();
        const before = federation.signal(member, "SIGTERM");
        await until("the streams are cut", 15_000, () => (streams?.ended.size === 3 ? true : undefined));
        expect(performance.now() - at).toBeGreaterThan(1_900);
        const codes = [...streams.ended].map(([name, { code }]) => `${name} ${code}`);
        expect(codes.sort()).toEqual(
          ["bidi", "server", "upload"].map((name) => `${name} ${status.UNAVAILABLE}`),
        );
        await until("the old process is gone", 5_000, () => (alive(before) ? undefined : true));
        const seen = await calls.stop();
        expect(Object.keys(seen)).toEqual(["OK"]);
        expect(refusedByServer()).toBe(0);
      },
      60_000,
    );
  });
});
