import { EventEmitter } from "node:events";

/**
 * Takes a closed socket's listeners off, and with them what they hold. Each Node stream has a closure that V8 allocates in the old
 * space (a function literal assigned to a property, `onwrite` of `WritableState`) and that knows its stream: a socket that is
 * gone outlives every scavenge until the whole heap is marked, with all that can be reached from it.
 */
export function letGo(socket: EventEmitter): void {
  // Not `Readable`'s own, which would see to readers of `readable` in a tick of their own.
  EventEmitter.prototype.removeAllListeners.call(socket);
}
