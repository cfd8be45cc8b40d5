import { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { letGo } from "./closed-socket.ts";

/** Where Node keeps an emitter's listeners, by event. */
const tableOf = (socket: Socket): object => (socket as unknown as { readonly _events: object })._events;

describe("a closed socket", () => {
  it("has no listeners, and neither has the table that held them", () => {
    const socket = new Socket();
    const table = tableOf(socket);
    for (const event of ["data", "drain", "end", "error", "close", "close"]) socket.on(event, () => {});
    socket.once("ready", () => {});
    letGo(socket);
    expect(socket.eventNames()).toEqual([]);
    expect(Object.values(table).filter((listener) => listener !== undefined)).toEqual([]);
    socket.destroy();
  });
});
