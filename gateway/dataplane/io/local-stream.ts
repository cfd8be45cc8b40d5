import { Socket } from "node:net";
import { parseAddress } from "../../../federation/model/address.ts";
import { PROBLEMS } from "../../../federation/model/problem.ts";
import { ENDPOINT_CONNECT_TIMEOUT_MS } from "./forward.ts";
import { ignore } from "./relay.ts";
import { TUNNEL_HEADER } from "./tunnel-settings.ts";
import { ErrorCode, type OpenedStream, type ReceivedFields } from "./tunnel-stream.ts";

/**
 * A connection to a workload of our own cluster that behaves like a tunnel stream to one of another: whoever speaks HTTP over
 * it need not know the difference.
 */
export class LocalStream extends Socket implements OpenedStream {
  rstCode: number | undefined;
  readonly #name: string | undefined;
  #answered = false;

  /** `onFailed`: the endpoint does not accept the connection. */
  constructor(endpoint: string, name?: string, onFailed: () => void = () => {}) {
    super({ allowHalfOpen: true });
    this.#name = name;
    this.on("error", ignore);
    this.setNoDelay(true);
    const address = parseAddress(endpoint);
    const timer = setTimeout(() => this.#answer(`${endpoint}: took too long`), ENDPOINT_CONNECT_TIMEOUT_MS);
    this.once("connect", () => {
      clearTimeout(timer);
      this.#answered = true;
      this.emit("response", { ":status": 200, [TUNNEL_HEADER.endpoint]: name } satisfies ReceivedFields);
    });
    this.once("error", (error) => {
      if (!this.#answered) onFailed();
      this.#answer(`${endpoint}: ${error.message}`);
    });
    this.once("close", () => clearTimeout(timer));
    if (address.ok) this.connect({ ...address.value });
    else process.nextTick(() => this.#answer(address.error));
  }

  close(code: number = ErrorCode.noError): void {
    this.rstCode ??= code;
    if (code === ErrorCode.noError) this.end();
    else this.resetAndDestroy();
  }

  /** What the far gateway would have said. */
  #answer(detail: string): void {
    if (this.#answered) return;
    this.#answered = true;
    const fields: ReceivedFields = {
      ":status": 503,
      [TUNNEL_HEADER.code]: PROBLEMS.endpoint_unreachable.code,
      [TUNNEL_HEADER.detail]: detail,
      [TUNNEL_HEADER.endpoint]: this.#name,
    };
    this.emit("response", fields);
    this.destroy();
  }
}
