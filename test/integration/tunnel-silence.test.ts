import { connect } from "node:net";
import { afterAll, describe, expect, it } from "vitest";
import { type EdgeScene, startEdge } from "../fakes/edge-scene.ts";
import { addressOf } from "../fakes/http-wire.ts";
import { dialTls } from "../fakes/tunnel-client.ts";
import { until } from "../fakes/until.ts";

// Five seconds are what a handshake, and what a greeting, may take.
const PATIENCE_MS = 9_000;

describe.concurrent("a tunnel peer that is silent", () => {
  const scenes: EdgeScene[] = [];
  afterAll(async () => {
    for (const scene of scenes) await scene.stop();
  });

  const start = async () => {
    const scene = await startEdge();
    scenes.push(scene);
    const { listen, log } = scene.mesh.member("east gateway");
    const before = log.length;
    const refused = () => log.slice(before).filter((line) => line["event"] === "peer_refused");
    return { address: listen, refused, credential: scene.mesh.federation.system("west", "gateway") };
  };

  it("after the TCP connection is cut within seconds, with a code", async () => {
    const { address, refused } = await start();
    let closed = false;
    connect(addressOf(address))
      .on("close", () => (closed = true))
      .on("error", () => {})
      .resume();
    await until("it is cut", PATIENCE_MS, () => (closed ? true : undefined));
    expect(refused().map((line) => line["code"])).toEqual(["ISTH-1009"]);
  });

  it("after the handshake is cut within seconds, with a code", async () => {
    const { address, refused, credential } = await start();
    const socket = await dialTls({ address, credential });
    let closed = false;
    socket
      .on("close", () => (closed = true))
      .on("error", () => {})
      .resume();
    await until("it is cut", PATIENCE_MS, () => (closed ? true : undefined));
    expect(refused()).toMatchObject([{ code: "ISTH-3012", detail: "no HTTP/2 greeting" }]);
  });
});
