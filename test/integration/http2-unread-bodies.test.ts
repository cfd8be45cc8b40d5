import { once } from "node:events";
import http2 from "node:http2";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Flag, FrameType, PREFACE } from "../../gateway/dataplane/http2/frame.ts";
import { frame, resetStream, settings } from "../fakes/h2-frames.ts";
import { framesOf, headersFrame, OK, wholeFrames } from "../fakes/http2-sides.ts";
import { type Mesh, startMesh } from "../fakes/mesh.ts";

/** Answers each head at once and says NO_ERROR to its stream, as nginx does when it has no use for the body (RFC 9113 §8.1). */
function answerHeads(socket: Socket): void {
  let rest = Buffer.alloc(0);
  let skipped = PREFACE.length;
  socket.write(settings());
  socket.on("error", () => {});
  socket.on("data", (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    if (rest.length < skipped) return;
    const frames = wholeFrames(rest.subarray(skipped));
    rest = rest.subarray(skipped + frames.length);
    skipped = 0;
    const answers = framesOf(frames)
      .filter(({ type }) => type === FrameType.headers)
      .flatMap(({ stream }) => [
        headersFrame(stream, OK),
        frame(FrameType.data, Flag.endStream, stream, Buffer.from("hello")),
        resetStream(stream, http2.constants.NGHTTP2_NO_ERROR),
      ]);
    socket.write(Buffer.concat(answers));
  });
}

let mesh: Mesh;
const service = createServer(answerHeads);

beforeAll(async () => {
  service.listen(0, "127.0.0.1");
  await once(service, "listening");
  mesh = await startMesh({ agents: false, endpoint: `127.0.0.1:${(service.address() as AddressInfo).port}` });
});
afterAll(() => {
  mesh.close();
  service.close();
});

// It was: each session was cut as a flood of RST_STREAM after 500 requests, and with it what was under way.
it("a service that reads no body and resets each stream it has answered loses no request", async () => {
  const session = http2.connect(`http://${mesh.address("ns/shop/sa/web")}`);
  const statusOf = (): Promise<number | undefined> => {
    const stream = session.request({ ":path": "/", ":method": "POST" });
    stream.on("error", () => {});
    stream.end("a body that nobody reads");
    stream.resume();
    return new Promise((resolve) => {
      stream.once("response", (fields) => resolve(fields[":status"]));
      stream.once("close", () => resolve(undefined));
    });
  };
  const statuses: (number | undefined)[] = [];
  for (let round = 0; round < 100; round++)
    statuses.push(...(await Promise.all(Array.from({ length: 50 }, statusOf))));
  session.destroy();
  expect(statuses.filter((status) => status !== 200)).toEqual([]);
});
