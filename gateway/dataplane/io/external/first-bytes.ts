import type { ExternalHost } from "../../../../federation/model/external-host.ts";
import { type Problem, problem } from "../../../../federation/model/problem.ts";
import type { ClientHelloOutcome } from "../../tls/client-hello.ts";
import type { Counter } from "../counters.ts";
import { abort, type RelayEnd } from "../relay.ts";
import { helloName, type Sniffed, sniffClientHello } from "./tls-sniffer.ts";

const NO_BYTES = Buffer.alloc(0);

export interface HeldConnection {
  readonly client: RelayEnd;
  readonly upstream: RelayEnd;
  /** What the client sent already. */
  readonly early: Buffer;
  /** A client must begin a TLS handshake, and soon. */
  readonly mustBeTls: boolean;
  /** Counts what the server says meanwhile. */
  readonly down: Counter;
}

/**
 * The client's first bytes wait until they are judged. What the server says meanwhile passes, because some protocols begin with
 * it; not where the client must begin.
 */
export function awaitFirstBytes(held: HeldConnection, done: Sniffed): void {
  const { client, upstream, early, mustBeTls, down } = held;
  const stream = upstream as unknown as NodeJS.EventEmitter;
  const passDown = (chunk: Buffer): void => {
    down.value += chunk.length;
    if (!client.write(chunk)) upstream.pause();
  };
  const resume = (): void => void upstream.resume();
  const dropped = (): void => void abort(client);
  if (!mustBeTls) {
    stream.on("data", passDown);
    client.on("drain", resume);
  }
  stream.once("close", dropped);
  const timed = mustBeTls ? sniffClientHello : sniffInTime;
  timed(client, early, (outcome, bytes) => {
    stream.off("data", passDown);
    stream.off("close", dropped);
    (client as unknown as NodeJS.EventEmitter).off("drain", resume);
    done(outcome, bytes);
  });
}

/** Where a client begins a TLS handshake, its SNI must name the host that the connection goes to. */
export function judgeFirstBytes(
  host: ExternalHost,
  mustBeTls: boolean,
  outcome: ClientHelloOutcome | Problem,
): Problem | undefined {
  if (!("name" in outcome) && outcome.kind === "not-tls" && !mustBeTls) return undefined;
  if (host.kind === "address" && !("name" in outcome) && outcome.kind === "hello") return undefined;
  const named = helloName(outcome);
  if (!named.ok) return named.error;
  return named.value === host.name
    ? undefined
    : problem("egress_name_mismatch", `SNI says ${named.value}, the connection goes to ${host.name}`);
}

/** As `sniffClientHello`, but a client may take its time: in some protocols the server speaks first. */
function sniffInTime(end: RelayEnd, early: Buffer, done: Sniffed): void {
  if (early.length > 0) return sniffClientHello(end, early, done);
  const stream = end as unknown as NodeJS.EventEmitter;
  const onData = (chunk: Buffer): void => {
    stream.off("data", onData);
    stream.off("end", onEnd);
    sniffClientHello(end, chunk, done);
  };
  const onEnd = (): void => {
    stream.off("data", onData);
    done({ kind: "not-tls" }, NO_BYTES);
  };
  stream.on("data", onData);
  stream.once("end", onEnd);
  end.resume();
}
