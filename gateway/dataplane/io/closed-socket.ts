import { EventEmitter } from "node:events";

type Listener = (...args: unknown[]) => void;

/**
 * Takes a closed socket's listeners off, and with them what they hold. Each Node stream has a closure that V8 allocates in the old
 * space (a function literal assigned to a property, `onwrite` of `WritableState`) and that knows its stream: a socket that is
 * gone outlives every scavenge until the whole heap is marked, with all that can be reached from it. One by one, since
 * `removeAllListeners` leaves the table as it is and takes a new one: V8 comes to allocate these tables in the old space as well,
 * and there one that nobody knows any more holds its listeners as long.
 */
export function letGo(socket: EventEmitter): void {
  // Not `Readable`'s own, which would see to readers of `readable` in a tick of their own.
  const { eventNames, rawListeners, removeListener } = EventEmitter.prototype;
  for (const name of eventNames.call(socket))
    for (const listener of rawListeners.call(socket, name))
      removeListener.call(socket, name, listener as Listener);
}
