// Longer than other files: every branch of the state machine has its case here, where it needs no socket.
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import type { Problem } from "../../../federation/model/problem.ts";
import { FakeSocket } from "../../../test/fakes/fake-socket.ts";
import type { RequestHead } from "../http1/request-head.ts";
import type { RequestForms } from "../http1/request-line.ts";
import { RequestHeadReader } from "../http1/request-head-reader.ts";
import { parseResponseHead, type ResponseHead } from "../http1/response-head.ts";
import { IDLE_TIMEOUT_MS, MIN_PROGRESS_BYTES, REQUEST_TIMEOUT_MS } from "./client-patience.ts";
import type { BodyTarget } from "./http1-body.ts";
import { Http1Downstream, type RequestServer } from "./http1-downstream.ts";
import type { RelayEnd } from "./relay.ts";

const NOW = 1_000_000;
const ANSWER_MS = 300_000;
const STALLED_MS = 7_000;
const GET = "GET /a HTTP/1.1\r\nHost: cart.shop\r\n\r\n";
const POST = "POST /a HTTP/1.1\r\nHost: cart.shop\r\nContent-Length: 5\r\n\r\n";
const LONG = POST.replace("5", "1000");
const CHUNKED = "POST /a HTTP/1.1\r\nHost: cart.shop\r\nTransfer-Encoding: chunked\r\n\r\n";
const UPGRADE = GET.replace("\r\n\r\n", "\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");

/** One client, and a server that notes what it is given. */
class Scene implements RequestServer {
  readonly host = {
    coarseNow: NOW,
    draining: false,
    stalledReaderMs: STALLED_MS,
    forms: "origin" as RequestForms,
  };
  readonly socket = new FakeSocket();
  readonly served: string[] = [];
  readonly rejected: string[] = [];
  body = "";
  takesMore = true;
  hasWay = true;
  onServe = (_at: number): void => {};
  readonly down = new Http1Downstream(this.socket as unknown as RelayEnd, this, this.host, ANSWER_MS);

  serve(head: RequestHead, _buffer: Buffer, at: number): void {
    this.served.push(head.target);
    this.down.expectBody(true);
    this.down.moveDeadline();
    this.onServe(at);
  }
  get bodyTarget(): BodyTarget | undefined {
    const write = (bytes: Buffer, from: number, to: number): boolean => (
      (this.body += bytes.toString("latin1", from, to)), true
    );
    return this.hasWay ? { write } : undefined;
  }
  bodySent(): boolean {
    return this.takesMore;
  }
  reject(reason: Problem): void {
    this.rejected.push(reason.name);
    this.down.stop();
  }

  send(...parts: readonly string[]): this {
    for (const part of parts) this.down.read(this.down.withPending(Buffer.from(part, "latin1")));
    return this;
  }
  answer(): this {
    const bytes = Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    this.down.pass(bytes, 0, bytes.length);
    this.down.becomeIdle();
    this.down.next();
    return this;
  }
  later(ms: number): this {
    this.host.coarseNow += ms;
    return this;
  }
  /** Until the deadline. */
  get leftMs(): number {
    return this.down.deadlineMs - this.host.coarseNow;
  }
}

function responseHead(text: string): ResponseHead {
  const buffer = Buffer.from(text, "latin1");
  const asked = { method: "GET", upgrade: undefined };
  const outcome = parseResponseHead(buffer, 0, buffer.length, asked);
  if (outcome.kind !== "head") throw new Error(text);
  return outcome.head;
}

describe("what a client sends", () => {
  it("is taken apart into the same requests and bodies, however its bytes are cut", () => {
    const request = fc.oneof(
      fc.constant({ text: GET, body: "" }),
      fc.constant({ text: `${POST}hello`, body: "hello" }),
      fc.constant({ text: `${CHUNKED}2\r\nhi\r\n0\r\n\r\n`, body: "2\r\nhi\r\n0\r\n\r\n" }),
    );
    const cuts = fc.array(fc.nat({ max: 40 }), { maxLength: 60 });
    fc.assert(
      fc.property(fc.array(request, { maxLength: 8 }), cuts, (requests, lengths) => {
        const scene = new Scene();
        let rest = requests.map(({ text }) => text).join("");
        while (rest !== "" || scene.down.isActive) {
          if (scene.down.isActive && scene.down.requestDone) scene.answer();
          else {
            const length = (lengths.shift() ?? rest.length) + 1;
            scene.send(rest.slice(0, length));
            rest = rest.slice(length);
          }
        }
        expect(scene.served).toHaveLength(requests.length);
        expect(scene.body).toBe(requests.map(({ body }) => body).join(""));
        expect(scene.rejected).toEqual([]);
      }),
    );
  });

  it("waits, unread, until the request before it is answered", () => {
    const scene = new Scene().send(GET + GET.replace("/a", "/b"));
    expect([scene.served, scene.socket.isPaused]).toEqual([["/a"], true]);
    scene.answer();
    expect([scene.served, scene.socket.isPaused]).toEqual([["/a", "/b"], false]);
  });

  it("waits where the body has nowhere to go yet, and goes there then", () => {
    const scene = new Scene();
    scene.hasWay = false;
    scene.send(`${POST}hello`);
    expect([scene.body, scene.socket.isPaused, scene.down.hasSentBody]).toEqual(["", true, false]);
    scene.hasWay = true;
    scene.down.resume();
    expect([scene.body, scene.socket.isPaused, scene.down.hasSentBody]).toEqual(["hello", false, true]);
  });

  it("waits while the client does not read its answers, and is read once it does", () => {
    const scene = new Scene();
    scene.socket.writableNeedDrain = true;
    scene.send(GET);
    expect([scene.served, scene.socket.isPaused]).toEqual([[], true]);
    scene.socket.writableNeedDrain = false;
    expect(scene.down.drained()).toBe(false);
    expect([scene.served, scene.socket.isPaused]).toEqual([["/a"], false]);
  });

  it("is rejected where it is no head, or no chunk, and nothing behind it is read", () => {
    const head = new Scene().send(`nonsense\r\n\r\n${GET}`, GET);
    expect([head.rejected, head.served]).toEqual([["http_malformed"], []]);
    const chunk = new Scene().send(`${CHUNKED}2\r\nhi\r\nxyz\r\n${GET}`, GET);
    expect([chunk.rejected, chunk.served]).toEqual([["http_framing"], ["/a"]]);
  });

  it("may name another host only where the listener is a proxy", () => {
    const absolute = GET.replace("/a", "http://out.example/");
    expect(new Scene().send(absolute).rejected).toHaveLength(1);
    const proxy = new Scene();
    proxy.host.forms = "proxy";
    expect(proxy.send(absolute).served).toEqual(["http://out.example/"]);
  });

  it("is somebody else's after a release, and after the connection is gone nobody's", () => {
    const released = new Scene();
    released.onServe = () => released.down.release();
    released.send(GET + GET).answer();
    expect(released.send(GET).served).toEqual(["/a"]);
    const gone = new Scene();
    gone.socket.destroyed = true;
    expect(gone.send(GET).served).toEqual([]);
  });

  it("is looked at once only while a head is unfinished", () => {
    const read = vi.spyOn(RequestHeadReader.prototype, "read");
    new Scene().send(GET.slice(0, 9), GET.slice(9, 12), GET.slice(12));
    expect(read.mock.calls.map(([, , , scanned]) => scanned)).toEqual([0, 9, 12]);
    read.mockRestore();
  });

  it("says of each request anew that nothing of its body has left and nothing of its answer came", () => {
    const scene = new Scene().send(`${POST}hello`);
    scene.down.hasResponded = true;
    scene.answer().send(GET);
    expect([scene.down.hasSentBody, scene.down.hasResponded]).toEqual([false, false]);
  });
});

describe("the client's clock", () => {
  it("gives an idle connection long, and a head little from its first byte to its last", () => {
    const scene = new Scene();
    expect(scene.leftMs).toBe(IDLE_TIMEOUT_MS);
    scene.later(50_000).send(GET.slice(0, 9));
    expect(scene.leftMs).toBe(REQUEST_TIMEOUT_MS);
    scene.later(4_000).send(GET.slice(9, 12));
    expect(scene.leftMs).toBe(REQUEST_TIMEOUT_MS - 4_000);
    expect(scene.send(GET.slice(12)).leftMs).toBe(ANSWER_MS);
    expect(scene.later(10).answer().leftMs).toBe(IDLE_TIMEOUT_MS);
  });

  it("starts anew with every so many bytes of a body, and not with fewer", () => {
    const scene = new Scene().send(LONG);
    scene.later(3_000).send("x".repeat(MIN_PROGRESS_BYTES - 1));
    expect(scene.leftMs).toBe(REQUEST_TIMEOUT_MS - 3_000);
    expect(scene.send("x").leftMs).toBe(REQUEST_TIMEOUT_MS);
    scene.later(3_000).send("x".repeat(MIN_PROGRESS_BYTES - 1));
    expect(scene.leftMs).toBe(REQUEST_TIMEOUT_MS - 3_000);
  });

  it("ends with the last byte of a body, however few came", () => {
    expect(new Scene().send(POST, "hell").leftMs).toBe(REQUEST_TIMEOUT_MS);
    expect(new Scene().send(POST, "hell", "o").leftMs).toBe(ANSWER_MS);
  });

  it("stands still while the far side takes no more of the body", () => {
    const scene = new Scene();
    scene.takesMore = false;
    scene.send(LONG, "x");
    expect([scene.leftMs, scene.socket.isPaused]).toEqual([ANSWER_MS, true]);
    scene.down.resumeBody();
    expect(scene.socket.isPaused).toBe(false);
    scene.send("x".repeat(999));
    expect([scene.down.requestDone, scene.socket.isPaused]).toEqual([true, true]);
    scene.down.resumeBody();
    expect(scene.socket.isPaused).toBe(false);
  });

  it("lets what is behind a whole request wait when the far side takes more", () => {
    const scene = new Scene().send(GET + GET);
    scene.down.resumeBody();
    expect(scene.socket.isPaused).toBe(true);
    const idle = new Scene();
    idle.socket.pause();
    idle.down.resumeBody();
    expect(idle.socket.isPaused).toBe(true);
  });

  it("gives a body as long as an answer once the answer has begun", () => {
    const scene = new Scene().send(LONG);
    scene.down.hasResponded = true;
    expect(scene.send("x".repeat(MIN_PROGRESS_BYTES)).leftMs).toBe(ANSWER_MS);
  });

  it("runs for a client that does not read, in the midst of an answer and between two", () => {
    const scene = new Scene().send(GET);
    scene.socket.writableNeedDrain = true;
    expect([scene.down.isBehind(), scene.leftMs]).toEqual([true, STALLED_MS]);
    scene.socket.writableNeedDrain = false;
    expect([scene.later(10).down.isBehind(), scene.leftMs]).toEqual([false, ANSWER_MS]);
    expect([scene.later(10).down.drained(), scene.leftMs]).toEqual([true, ANSWER_MS]);
    scene.socket.writableNeedDrain = true;
    expect(scene.answer().leftMs).toBe(STALLED_MS);
    expect(scene.socket.isPaused).toBe(true);
  });

  it("is off once protocols were switched", () => {
    const scene = new Scene().send(`${UPGRADE}early`);
    expect([scene.down.upgrade()?.toString(), scene.down.deadlineMs]).toEqual(["early", 0]);
    scene.down.moveDeadline();
    expect(scene.down.deadlineMs).toBe(0);
    scene.down.deadlineMs = 1;
    expect([scene.down.drained(), scene.down.deadlineMs]).toEqual([true, 0]);
    expect([scene.down.hasResponded, scene.down.upgrade()]).toEqual([true, undefined]);
  });

  it("tells what did not come in time", () => {
    expect(new Scene().down.awaited).toBe("nothing");
    expect(new Scene().send(GET.slice(0, 9)).down.awaited).toBe("request");
    expect(new Scene().send(POST, "hell").down.awaited).toBe("request");
    expect(new Scene().send(GET).down.awaited).toBe("response");
    expect(new Scene().send(GET).answer().down.awaited).toBe("nothing");
    expect(new Scene().send(GET).answer().send(GET.slice(0, 9)).down.awaited).toBe("request");
    const stopped = new Scene().send(GET.slice(0, 9));
    stopped.down.stop();
    expect(stopped.down.awaited).toBe("nothing");
    const late = new Scene().send(POST, "hell");
    late.down.hasResponded = true;
    expect(late.down.awaited).toBe("nothing");
    const unread = new Scene().send(GET);
    unread.socket.writableNeedDrain = true;
    expect(unread.down.awaited).toBe("nothing");
  });
});

describe("a connection between two requests", () => {
  it("is idle for as long as nothing was under way or arriving", () => {
    const scene = new Scene();
    scene.down.answerMs = 15_000;
    scene.send(GET);
    expect(scene.down.isIdle(0)).toBe(false);
    scene.answer();
    expect([scene.down.isIdle(0), scene.down.isIdle(2_000)]).toEqual([true, false]);
    scene.later(2_000);
    expect([scene.down.isIdle(2_000), scene.down.isIdle(2_001)]).toEqual([true, false]);
    expect(scene.send(GET.slice(0, 5)).down.isIdle(0)).toBe(false);
    scene.down.stop();
    expect(scene.down.isIdle(0)).toBe(false);
  });

  it("stays open unless the client, the listener or an earlier answer says otherwise", () => {
    const scene = new Scene().send(GET);
    expect(scene.down.staysOpen).toBe(true);
    scene.host.draining = true;
    expect(scene.down.staysOpen).toBe(false);
    expect(new Scene().send(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).down.staysOpen).toBe(
      false,
    );
    expect(new Scene().send(POST, "hell").down.staysOpen).toBe(false);
    const ending = new Scene().send(GET);
    ending.down.isEnding = true;
    expect(ending.down.staysOpen).toBe(false);
  });

  it("is the last one's where the client said so and sent nothing more", () => {
    const closing = GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    expect(new Scene().send(closing).down.isLast).toBe(true);
    expect(new Scene().send(closing + GET).down.isLast).toBe(false);
    expect(new Scene().send(GET).down.isLast).toBe(false);
    expect(new Scene().send(closing).answer().down.isLast).toBe(false);
    const unfinished = new Scene().send(POST.replace("Content", "Connection: close\r\nContent"), "hell");
    expect(unfinished.down.isLast).toBe(false);
  });
});

describe("a client that ends its half", () => {
  it("gets the answers to what it had sent, and then the other half's end", () => {
    const scene = new Scene().send(GET + GET.replace("/a", "/b"));
    scene.down.halfClose();
    expect([scene.socket.acts, scene.down.staysOpen]).toEqual([[], true]);
    scene.answer();
    expect([scene.served, scene.socket.acts, scene.down.staysOpen]).toEqual([["/a", "/b"], [], false]);
    scene.answer();
    expect(scene.socket.acts).toEqual(["end"]);
  });

  it("is cut in the midst of a request, and ended between two or with half a head", () => {
    const body = new Scene().send(POST, "hell");
    body.down.halfClose();
    expect(body.socket.acts).toEqual(["reset"]);
    for (const sent of ["", GET.slice(0, 9)]) {
      const scene = new Scene().send(sent);
      scene.down.halfClose();
      expect(scene.socket.acts).toEqual(["end"]);
    }
  });

  it("is neither cut nor ended where all that it sent waits here", () => {
    const body = new Scene();
    body.hasWay = false;
    body.send(`${POST}hello`).down.halfClose();
    expect(body.socket.acts).toEqual([]);
    const behind = new Scene();
    behind.socket.writableNeedDrain = true;
    behind.send(GET).down.halfClose();
    expect(behind.socket.acts).toEqual([]);
  });

  it("is read on while its request goes nowhere, up to so many bytes", () => {
    const scene = new Scene();
    scene.hasWay = false;
    scene.onServe = () => scene.down.watchEnd();
    scene.send(LONG, "x".repeat(900));
    expect(scene.socket.isPaused).toBe(false);
    scene.down.halfClose();
    expect([scene.down.hasEnded, scene.socket.acts]).toEqual([true, []]);
    const other = new Scene();
    other.hasWay = false;
    other.onServe = () => other.down.watchEnd();
    other.send(POST.replace("5", "99999"), "x".repeat(16_384));
    expect(other.socket.isPaused).toBe(false);
    other.send("y");
    expect(other.socket.isPaused).toBe(true);
    other.hasWay = true;
    other.down.resume();
    expect([other.body.length, other.socket.isPaused]).toEqual([16_385, false]);
  });

  it("is not ended a second time", () => {
    const scene = new Scene().send(GET);
    scene.down.stop();
    scene.down.linger();
    scene.down.halfClose();
    scene.socket.writableNeedDrain = true;
    expect(scene.down.drained()).toBe(false);
    expect([scene.socket.acts, scene.leftMs]).toEqual([["end"], 2_000]);
  });
});

describe("an answer", () => {
  const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
  const respond = (scene: Scene, text: string, body?: string): string => {
    const head = responseHead(text);
    if (body === undefined) scene.down.respond(head, head.forwardable);
    else scene.down.respond(head, head.forwardable, Buffer.from(`-${body}-`), 1, 1 + body.length);
    return scene.socket.written;
  };

  it("has its head and what is there of its body in one write, and the connection stays", () => {
    const scene = new Scene().send(GET);
    expect(respond(scene, OK, "ok")).toMatch(/^HTTP\/1\.1 200 OK\r\ncontent-length: 2\r\n\r\nok$/i);
    expect([scene.down.isEnding, scene.down.hasResponded]).toEqual([false, true]);
    expect(respond(new Scene().send(GET), OK)).toMatch(/\r\n\r\n$/);
    const chunked = respond(new Scene().send(GET), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    expect(chunked).toMatch(/transfer-encoding: chunked\r\n\r\n$/i);
    const passed = new Scene().send(GET);
    passed.down.pass(Buffer.from("-ok-"), 1, 3);
    expect([passed.socket.written, passed.down.awaited]).toEqual(["ok", "nothing"]);
  });

  it("says that the connection ends where its body ends with it, the client speaks HTTP/1.0, or it cannot stay", () => {
    const untilClose = new Scene().send(GET);
    expect(respond(untilClose, "HTTP/1.1 200 OK\r\n\r\n")).toContain("connection: close\r\n\r\n");
    expect(untilClose.down.isEnding).toBe(true);
    const old = new Scene().send(
      GET.replace("HTTP/1.1", "HTTP/1.0").replace("\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n"),
    );
    const answer = respond(old, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "x");
    expect(answer).toMatch(/connection: close\r\n\r\nx$/);
    expect(answer).not.toMatch(/transfer-encoding/i);
    const draining = new Scene().send(GET);
    draining.host.draining = true;
    expect(respond(draining, OK)).toContain("connection: close\r\n\r\n");
    expect(draining.answer().send(GET).served).toEqual(["/a"]);
  });

  it("goes out as its known bytes where its fields are as they came", () => {
    const wire = Buffer.from("as kept\r\n\r\n");
    const head = { ...responseHead(OK), wire };
    const written = (fields: string, scene = new Scene().send(GET)): string => {
      scene.down.respond(head, fields, Buffer.from("ok"), 0, 2);
      return scene.socket.written;
    };
    expect(written(head.forwardable)).toBe("as kept\r\n\r\nok");
    expect(written(`${head.forwardable}x-back: yes\r\n`)).toMatch(/^HTTP[^]*x-back: yes\r\n\r\nok$/);
    const draining = new Scene().send(GET);
    draining.host.draining = true;
    expect(written(head.forwardable, draining)).toMatch(/^HTTP[^]*connection: close\r\n\r\nok$/);
  });

  it("has interim ones before it only for HTTP/1.1", () => {
    const now = new Scene().send(GET);
    now.down.inform("HTTP/1.1 103 Early Hints\r\n\r\n");
    expect(now.socket.written).toContain("103");
    const old = new Scene().send(GET.replace("HTTP/1.1", "HTTP/1.0"));
    old.down.inform("HTTP/1.1 103 Early Hints\r\n\r\n");
    expect(old.socket.written).toBe("");
  });

  it("is waited for anew with each of them, but not the request for it", () => {
    const scene = new Scene().send(GET).later(200_000);
    scene.down.inform("HTTP/1.1 102 Processing\r\n\r\n");
    expect([scene.down.isBehind(), scene.leftMs]).toEqual([false, ANSWER_MS]);
    const arriving = new Scene().send(POST, "hell").later(1_000);
    arriving.down.inform("HTTP/1.1 102 Processing\r\n\r\n");
    expect([arriving.down.isBehind(), arriving.leftMs]).toEqual([false, REQUEST_TIMEOUT_MS - 1_000]);
  });

  it.each([
    ["an answer", (scene: Scene) => respond(scene, OK)],
    ["an interim one", ({ down }: Scene) => down.inform("HTTP/1.1 103 Early Hints\r\n\r\n")],
    ["one of our own", ({ down }: Scene) => down.reply("HTTP/1.1 404 Not Found\r\n\r\n")],
  ])("comes after what was gathered before it: %s", (_, write) => {
    const bulk = Buffer.alloc(8_192, "b");
    const scene = new Scene().send(GET);
    scene.down.writer.write(bulk, 0, bulk.length);
    write(scene);
    expect(scene.socket.written).toMatch(/^b{8192}HTTP/);
  });
});

describe("the end of a connection", () => {
  it("reads nothing more, writes what was gathered, and lingers until the client has its answer", () => {
    const bulk = Buffer.alloc(8_192, "b");
    const scene = new Scene().send(GET + GET);
    scene.down.writer.write(bulk, 0, bulk.length);
    scene.down.stop();
    expect(scene.socket.written).toHaveLength(8_192);
    expect(scene.down.withPending(Buffer.from("x")).toString()).toBe("x");
    scene.down.linger();
    expect([scene.socket.acts, scene.socket.isPaused, scene.leftMs]).toEqual([["end"], false, 2_000]);
    scene.down.resume();
    expect(scene.send(GET).served).toEqual(["/a"]);
  });
});
