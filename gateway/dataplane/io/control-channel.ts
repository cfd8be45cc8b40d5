import { type ControlMessage, decodeControlMessage } from "../../../federation/model/wire/control-message.ts";
import { ignore } from "./relay.ts";
import { ErrorCode, type TunnelStream } from "./tunnel-stream.ts";

// Thousands of services in one message; a peer that sends more in a line is broken or hostile.
const MAX_LINE = 4 * 1024 * 1024;
// What a peer does not read is not heaped up here: it hears everything anew when it comes back.
const MAX_UNREAD = 8 * 1024 * 1024;

/** Messages over one tunnel stream, one JSON object a line, both ways. */
export class ControlChannel {
  readonly #stream: TunnelStream;
  readonly #onMessage: (message: ControlMessage) => void;
  #rest = "";

  constructor(
    stream: TunnelStream,
    events: { readonly onMessage: (message: ControlMessage) => void; readonly onClosed: () => void },
  ) {
    this.#stream = stream;
    this.#onMessage = events.onMessage;
    stream.on("data", (chunk) => this.#onData(chunk));
    stream.on("error", ignore);
    stream.once("end", () => this.close());
    stream.once("close", events.onClosed);
  }

  send(message: ControlMessage): void {
    if (this.#stream.destroyed || this.#stream.closed) return;
    if (this.#stream.writableLength > MAX_UNREAD) return this.close();
    this.#stream.write(`${JSON.stringify(message)}\n`, "utf8");
  }

  close(): void {
    this.#rest = "";
    if (!this.#stream.closed) this.#stream.close(ErrorCode.cancel);
  }

  #onData(chunk: Buffer): void {
    const lines = (this.#rest + chunk.toString("utf8")).split("\n");
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > MAX_LINE) return this.close();
    for (const line of lines) {
      const decoded = decodeControlMessage(parse(line));
      // Half a message is worse than none: a newer peer says what we do not know on a channel of its own.
      if (!decoded.ok) return this.close();
      this.#onMessage(decoded.value);
    }
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    return undefined;
  }
}
