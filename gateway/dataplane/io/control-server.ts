import type { ControlMessage } from "../../../federation/model/wire/control-message.ts";
import type { Peer } from "../identity/peer-trust.ts";
import { ControlChannel } from "./control-channel.ts";
import type { Readiness } from "./destination-guard.ts";
import type { TunnelRequest } from "./tunnel-server.ts";
import { TUNNEL_HEADER } from "./tunnel-settings.ts";

// Several changes come together, when a workload ends or a file is read; nobody notices this much.
const GATHER_MS = 5;

interface Listener {
  readonly channel: ControlChannel;
  readonly peer: Peer;
  /** What it was told last. */
  readonly told: Map<string, string>;
}

export interface ControlServerOptions {
  readonly self: string;
  /** Everything that this peer may know of services now, by key. */
  readonly servicesFor: (peer: Peer) => ReadonlyMap<string, Readiness>;
  readonly onCame: (member: string) => void;
  readonly onMessage: (member: string, message: ControlMessage) => void;
  readonly onGone: (member: string) => void;
}

/** The control channels that peers opened to us. */
export class ControlServer {
  readonly #options: ControlServerOptions;
  readonly #listeners = new Map<string, Listener>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ControlServerOptions) {
    this.#options = options;
  }

  accept({ stream, headers, peer }: TunnelRequest): void {
    const name = headers[TUNNEL_HEADER.control];
    const { self, onCame, onMessage, onGone } = this.#options;
    // Of several clusters: a name is only as good as the peer that gave it.
    const member = `${peer.spiffeId.uri} ${typeof name === "string" ? name : ""}`;
    this.#listeners.get(member)?.channel.close();
    stream.respond({ ":status": 200 });
    const channel = new ControlChannel(stream, {
      onMessage: (message) => {
        // What is left of a channel that another one of the same member has replaced says nothing any more.
        if (this.#listeners.get(member)?.channel === channel) onMessage(member, message);
      },
      onClosed: () => {
        if (this.#listeners.get(member)?.channel !== channel) return;
        this.#listeners.delete(member);
        onGone(member);
      },
    });
    const listener = { channel, peer, told: new Map<string, string>() };
    this.#listeners.set(member, listener);
    channel.send({ hello: self });
    onCame(member);
    this.#tell(listener);
  }

  /** Something that `servicesFor` answers may have changed. */
  changed(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      for (const listener of this.#listeners.values()) this.#tell(listener);
    }, GATHER_MS);
  }

  send(member: string, message: ControlMessage): void {
    this.#listeners.get(member)?.channel.send(message);
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const { channel } of this.#listeners.values()) channel.close();
  }

  /** Only what differs from what it heard last. */
  #tell({ channel, peer, told }: Listener): void {
    const services: NonNullable<ControlMessage["services"]> = {};
    let news = 0;
    const now = this.#options.servicesFor(peer);
    for (const [key, { ready, total }] of now) {
      const text = `${ready}/${total}`;
      if (told.get(key) === text) continue;
      told.set(key, text);
      services[key] = [ready, total];
      news += 1;
    }
    for (const key of told.keys()) {
      if (now.has(key)) continue;
      told.delete(key);
      services[key] = null;
      news += 1;
    }
    if (news > 0) channel.send({ services });
  }
}
