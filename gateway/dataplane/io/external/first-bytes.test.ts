import { describe, expect, it } from "vitest";
import { parseExternalHost } from "../../../../federation/model/external-host.ts";
import { problem } from "../../../../federation/model/problem.ts";
import { FakeSocket } from "../../../../test/fakes/fake-socket.ts";
import { unwrap } from "../../../../test/fakes/pki.ts";
import type { RelayEnd } from "../relay.ts";
import { awaitFirstBytes, judgeFirstBytes } from "./first-bytes.ts";

const NAMED = unwrap(parseExternalHost("api.example"));
const ADDRESS = unwrap(parseExternalHost("192.0.2.1"));
const hello = (serverName: string | undefined, hidden = false) =>
  ({ kind: "hello", serverName, hidden }) as const;
const LATE = problem("egress_name_missing", "no ClientHello within 5 s");

describe("a client's first bytes", () => {
  it.each([
    ["of no TLS, where any protocol will do", NAMED, false, { kind: "not-tls" }, undefined],
    ["of no TLS, where it must be TLS", NAMED, true, { kind: "not-tls" }, "egress_protocol"],
    ["that name the host", NAMED, false, hello("API.example"), undefined],
    ["that name another host", NAMED, false, hello("evil.example"), "egress_name_mismatch"],
    ["that name none", NAMED, true, hello(undefined), "egress_name_missing"],
    ["that hide the name", NAMED, false, hello("api.example", true), "egress_name_hidden"],
    ["for an address, which no SNI can name", ADDRESS, true, hello("any.example"), undefined],
    ["that never came, for an address too", ADDRESS, true, LATE, "egress_name_missing"],
  ] as const)("%s", (_, host, mustBeTls, outcome, expected) => {
    expect(judgeFirstBytes(host, mustBeTls, outcome)?.name).toBe(expected);
  });
});

describe("what a server says before its client", () => {
  const hold = (mustBeTls: boolean) => {
    const [client, upstream] = [new FakeSocket(), new FakeSocket()];
    const down = { value: 0 };
    const judged: string[] = [];
    const ends = { client: client as unknown as RelayEnd, upstream: upstream as unknown as RelayEnd };
    awaitFirstBytes({ ...ends, early: Buffer.alloc(0), mustBeTls, down }, (outcome, bytes) =>
      judged.push("name" in outcome ? outcome.name : outcome.kind, bytes.toString()),
    );
    return { client, upstream, down, judged };
  };

  it("passes until the client's first bytes are there, at the client's pace", () => {
    const { client, upstream, down, judged } = hold(false);
    client.writableNeedDrain = true;
    upstream.emit("data", Buffer.from("220 ready"));
    expect([client.written, down.value, upstream.isPaused]).toEqual(["220 ready", 9, true]);
    client.emit("drain");
    expect(upstream.isPaused).toBe(false);
    client.emit("data", Buffer.from("EHLO"));
    client.emit("end");
    expect(judged).toEqual(["not-tls", "EHLO"]);
    upstream.emit("data", Buffer.from("unjudged"));
    expect([client.written, upstream.listenerCount("close"), client.listenerCount("drain")]).toEqual([
      "220 ready",
      0,
      0,
    ]);
  });

  it("waits where the client must begin", () => {
    const { client, upstream } = hold(true);
    expect(upstream.listenerCount("data")).toBe(0);
    client.emit("end");
  });

  it("is the end of the client where it ends itself", () => {
    const { client, upstream } = hold(false);
    upstream.emit("close");
    expect(client.acts).toEqual(["reset"]);
  });

  it("is all there is where the client ends without a word", () => {
    const { client, judged } = hold(false);
    client.emit("end");
    expect(judged).toEqual(["not-tls", ""]);
  });
});
