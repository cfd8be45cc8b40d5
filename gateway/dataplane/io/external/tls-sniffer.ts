import { parseExternalHost } from "../../../../federation/model/external-host.ts";
import { type Problem, problem } from "../../../../federation/model/problem.ts";
import { err, ok, type Result } from "../../../../federation/model/result.ts";
import { type ClientHelloOutcome, parseClientHello } from "../../tls/client-hello.ts";
import type { RelayEnd } from "../relay.ts";

// A ClientHello is the first thing a client sends; a client that waits first is refused, as a slow head would be.
const HELLO_TIMEOUT_MS = 5_000;

export type Sniffed = (outcome: ClientHelloOutcome | Problem, bytes: Buffer) => void;

/** Collects the first bytes of a client until they are known to be a ClientHello or not; leaves the end paused. */
export function sniffClientHello(end: RelayEnd, early: Buffer, done: Sniffed): void {
  let bytes: Buffer = early;
  let over = false;
  const stream = end as unknown as NodeJS.EventEmitter;
  const finish = (outcome: ClientHelloOutcome | Problem): void => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    stream.off("data", onData);
    stream.off("end", onEnd);
    stream.off("close", onEnd);
    end.pause();
    done(outcome, bytes);
  };
  const judge = (): void => {
    const outcome = parseClientHello(bytes);
    if (outcome.kind !== "need-more") finish(outcome);
  };
  const onData = (chunk: Buffer): void => {
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
    judge();
  };
  const onEnd = (): void =>
    finish(problem("egress_name_missing", "the connection ended before a ClientHello"));
  const timer = setTimeout(
    () => finish(problem("egress_name_missing", `no ClientHello within ${HELLO_TIMEOUT_MS / 1000} s`)),
    HELLO_TIMEOUT_MS,
  );
  stream.on("data", onData);
  stream.once("end", onEnd);
  stream.once("close", onEnd);
  judge();
  if (!over) end.resume();
}

/** The name that a ClientHello asks for, in canonical spelling, where the rules need it. */
export function helloName(outcome: ClientHelloOutcome | Problem): Result<string, Problem> {
  if ("name" in outcome) return err(outcome);
  if (outcome.kind === "not-tls") return err(problem("egress_protocol", "the client does not speak TLS"));
  if (outcome.kind !== "hello")
    return err(
      problem("egress_protocol", outcome.kind === "invalid" ? outcome.detail : "half a ClientHello"),
    );
  if (outcome.hidden) return err(problem("egress_name_hidden", "the ClientHello is encrypted (ECH or ESNI)"));
  if (outcome.serverName === undefined)
    return err(problem("egress_name_missing", "the ClientHello has no SNI"));
  const host = parseExternalHost(outcome.serverName);
  if (!host.ok) return err(problem("egress_destination_invalid", `SNI: ${host.error}`));
  return host.value.kind === "name"
    ? ok(host.value.name)
    : err(problem("egress_destination_invalid", "SNI holds an address (RFC 6066 §3 forbids it)"));
}
