import type { TunnelStatus } from "../../../federation/model/resource.ts";
import { type Load, pickLeastLoaded, pickPacked } from "../balance/pick.ts";
import type { ExpectedPeer } from "../identity/peer-trust.ts";
import { Tunnel, type TunnelEnvironment } from "./tunnel.ts";
import type { OpenedStream, RequestFields } from "./tunnel-stream.ts";

// Two sessions per address, so that one lossy TCP connection does not stall everyone: the second takes over from this many
// streams on. Fewer streams on more sessions cost up to a third more CPU time per request.
const TUNNELS_PER_ADDRESS = 2;
const FULL_SESSION_STREAMS = 128;

// How long a request waits for a tunnel that was there a moment ago: longer than a gateway's restart, so that a restart
// is a pause and not an error; a gateway that stays away is refused at once.
const RECONNECT_GRACE_MS = 1_500;
const MAX_WAITING = 4_096;

/** Called with whether a tunnel became ready in time. */
type Waiter = (ready: boolean) => void;

/** The ready tunnels to one address. */
class ReadyAddress implements Load {
  readonly address: string;
  readonly tunnels: readonly Tunnel[];

  constructor(address: string, tunnels: readonly Tunnel[]) {
    this.address = address;
    this.tunnels = tunnels;
  }

  get streams(): number {
    let sum = 0;
    for (const { streams } of this.tunnels) sum += streams;
    return sum;
  }

  open(headers: RequestFields, onDrain: () => void): OpenedStream | undefined {
    const picked = pickPacked(this.tunnels, FULL_SESSION_STREAMS);
    const stream = picked?.open(headers, onDrain);
    if (stream !== undefined) return stream;
    for (const tunnel of this.tunnels) {
      const other = tunnel === picked ? undefined : tunnel.open(headers, onDrain);
      if (other !== undefined) return other;
    }
    return undefined;
  }
}

/** A group of interchangeable gateways or agents: one standing set of tunnels to each of their addresses. */
export class Upstream {
  /** Cluster at the other end, for listings. */
  readonly cluster: string;
  readonly #expected: ExpectedPeer;
  readonly #env: TunnelEnvironment;
  readonly #onStatus: () => void;
  readonly #onReady = new Set<() => void>();
  readonly #tunnels = new Map<string, readonly Tunnel[]>();
  readonly #subscriptions: readonly (() => void)[];
  #ready: readonly ReadyAddress[] = [];
  #readyBy: ReadonlyMap<string, ReadyAddress> = new Map();
  #waiters: Waiter[] = [];
  #graceUntilMs: number;
  #graceTimer: NodeJS.Timeout | undefined;

  constructor(cluster: string, expected: ExpectedPeer, env: TunnelEnvironment, onStatus: () => void) {
    this.cluster = cluster;
    this.#expected = expected;
    this.#env = env;
    this.#onStatus = onStatus;
    this.#graceUntilMs = env.monotonicMs() + RECONNECT_GRACE_MS;
    this.#subscriptions = [
      env.credential.subscribe(() => {
        for (const tunnel of this.#all()) tunnel.renew();
      }),
      env.trust.subscribe(() => {
        for (const tunnel of this.#all()) tunnel.recheckTrust();
      }),
    ];
  }

  /** Keeps tunnels to exactly these; those to others drain. */
  setAddresses(addresses: readonly string[]): void {
    const wanted = new Set(addresses);
    for (const [address, tunnels] of this.#tunnels) {
      if (wanted.has(address)) continue;
      this.#tunnels.delete(address);
      for (const tunnel of tunnels) tunnel.close();
    }
    for (const address of wanted) {
      if (this.#tunnels.has(address)) continue;
      const dial = () => new Tunnel(address, this.#expected, this.#env, () => this.#refresh());
      this.#tunnels.set(address, Array.from({ length: TUNNELS_PER_ADDRESS }, dial));
    }
    this.#refresh();
  }

  /** Opens a stream to the less loaded of two ready addresses, or says that there is none. */
  open(headers: RequestFields, onDrain: () => void): OpenedStream | undefined {
    const picked = pickLeastLoaded(this.#ready, this.#env.random());
    const stream = picked?.open(headers, onDrain);
    if (stream !== undefined || picked === undefined) return stream;
    for (const address of this.#ready) {
      const other = address === picked ? undefined : address.open(headers, onDrain);
      if (other !== undefined) return other;
    }
    return undefined;
  }

  /** Addresses to which a tunnel stands. */
  readyAddresses(): readonly string[] {
    return this.#ready.map(({ address }) => address);
  }

  /** Addresses where nobody listens any more, as of so long ago at most. */
  refusedAddresses(withinMs: number): readonly string[] {
    return [...this.#tunnels]
      .filter(
        ([, tunnels]) =>
          tunnels.every(({ ready }) => !ready) && tunnels.some((tunnel) => tunnel.wasRefused(withinMs)),
      )
      .map(([address]) => address);
  }

  /** Whether the last try to reach this address failed, and none has succeeded since; tries go on, with back-off. */
  isAway(address: string): boolean {
    return !this.#readyBy.has(address) && this.#tunnels.get(address)?.some(({ away }) => away) === true;
  }

  /** Called whenever `readyAddresses` or `isAway` may answer something new. */
  onReady(listener: () => void): () => void {
    this.#onReady.add(listener);
    return () => this.#onReady.delete(listener);
  }

  /** A stream to just this address. */
  openTo(address: string, headers: RequestFields, onDrain: () => void): OpenedStream | undefined {
    return this.#readyBy.get(address)?.open(headers, onDrain);
  }

  /** Answers once: at once where the outcome is known, else when a tunnel is ready or the grace period is over. */
  whenReady(waiter: Waiter): void {
    if (this.#ready.length > 0) return waiter(true);
    const leftMs = this.#graceUntilMs - this.#env.monotonicMs();
    if (leftMs <= 0 || this.#tunnels.size === 0 || this.#waiters.length >= MAX_WAITING) return waiter(false);
    this.#waiters.push(waiter);
    this.#graceTimer ??= setTimeout(() => this.#release(false), leftMs);
  }

  status(): readonly TunnelStatus[] {
    return this.#all().map((tunnel) => tunnel.status(this.cluster));
  }

  get hasAddresses(): boolean {
    return this.#tunnels.size > 0;
  }

  get hasReadyTunnel(): boolean {
    return this.#ready.length > 0;
  }

  close(): void {
    for (const unsubscribe of this.#subscriptions) unsubscribe();
    for (const tunnel of this.#all()) tunnel.close();
    this.#tunnels.clear();
    this.#release(false);
  }

  #all(): readonly Tunnel[] {
    return [...this.#tunnels.values()].flat();
  }

  #refresh(): void {
    const before = this.#ready.length;
    this.#ready = [...this.#tunnels].flatMap(([address, tunnels]) => {
      const ready = tunnels.filter((tunnel) => tunnel.ready);
      return ready.length === 0 ? [] : [new ReadyAddress(address, ready)];
    });
    this.#readyBy = new Map(this.#ready.map((ready) => [ready.address, ready]));
    if (this.#ready.length > 0) this.#release(true);
    else if (before > 0) this.#graceUntilMs = this.#env.monotonicMs() + RECONNECT_GRACE_MS;
    this.#onStatus();
    for (const listener of [...this.#onReady]) listener();
  }

  #release(ready: boolean): void {
    clearTimeout(this.#graceTimer);
    this.#graceTimer = undefined;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter(ready);
  }
}
