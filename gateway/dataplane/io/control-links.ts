import type { ControlMessage } from "../../../federation/model/wire/control-message.ts";
import { ControlChannel } from "./control-channel.ts";
import { CONTROL_AUTHORITY, TUNNEL_HEADER } from "./tunnel-settings.ts";
import type { Upstream } from "./upstream.ts";

// A channel that ended while its tunnel stands is opened again after a moment.
const REOPEN_MS = 250;

export interface ControlLinkEvents {
  onMessage(address: string, message: ControlMessage): void;
  onGone(address: string): void;
}

/** One control channel to every address of an upstream, for as long as a tunnel to it stands. */
export class ControlLinks {
  readonly #upstream: Upstream;
  readonly #self: string;
  readonly #events: ControlLinkEvents;
  readonly #channels = new Map<string, ControlChannel>();
  readonly #unsubscribe: () => void;
  readonly #timer: NodeJS.Timeout;
  #closed = false;

  /** `self`: the name of this process. */
  constructor(upstream: Upstream, self: string, events: ControlLinkEvents) {
    this.#upstream = upstream;
    this.#self = self;
    this.#events = events;
    this.#unsubscribe = upstream.onReady(() => this.#sync());
    this.#timer = setInterval(() => this.#sync(), REOPEN_MS).unref();
    this.#sync();
  }

  send(address: string, message: ControlMessage): void {
    this.#channels.get(address)?.send(message);
  }

  close(): void {
    this.#closed = true;
    this.#unsubscribe();
    clearInterval(this.#timer);
    for (const channel of this.#channels.values()) channel.close();
  }

  #sync(): void {
    if (this.#closed) return;
    for (const address of this.#upstream.readyAddresses())
      if (!this.#channels.has(address)) this.#open(address);
  }

  #open(address: string): void {
    const headers = {
      ":method": "CONNECT",
      ":authority": CONTROL_AUTHORITY,
      [TUNNEL_HEADER.control]: this.#self,
    };
    let isOpen = true;
    // When the way drains, another one to the same address may stand already: begin anew over that.
    const stream = this.#upstream.openTo(
      address,
      headers,
      () => isOpen && this.#channels.get(address)?.close(),
    );
    if (stream === undefined) return;
    const channel = new ControlChannel(stream, {
      onMessage: (message) => this.#events.onMessage(address, message),
      onClosed: () => {
        isOpen = false;
        if (this.#channels.get(address) !== channel) return;
        this.#channels.delete(address);
        this.#events.onGone(address);
      },
    });
    this.#channels.set(address, channel);
  }
}
