import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { unwrap } from "../../test/fakes/pki.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { systemClock } from "../process/clock.ts";
import { type AddressKey, openAddressBook } from "./address-book.ts";

const tempDir = useTempDirs();

function key(name: string, port = 80): AddressKey {
  return { workload: `ns/shop/sa/${name}`, service: "cart.shop", port };
}

const book = (stateDir: string, isFree?: (port: number) => Promise<boolean>) =>
  openAddressBook({ stateDir, clock: systemClock, ...(isFree === undefined ? {} : { isFree }) });

function listen(port: number, reusePort: boolean): Promise<Server> {
  const server = createServer();
  return new Promise((resolve) =>
    server.listen({ host: "127.0.0.1", port, reusePort }, () => resolve(server)),
  );
}

describe("openAddressBook", () => {
  it("gives every workload, service and port an address of its own, the same for ever", async () => {
    const dir = tempDir();
    const keys = [key("web"), key("batch"), key("web", 443)];
    const first = unwrap(await book(dir).allocate(keys));
    expect(new Set(first).size).toBe(3);
    for (const address of first) expect(address).toMatch(/^127\.0\.0\.1:\d{5}$/);
    const again = unwrap(await book(dir).allocate([...keys].reverse().concat(key("new"))));
    expect(again.slice(0, 3)).toEqual([...first].reverse());
    expect(first).not.toContain(again[3]);
    expect(JSON.parse(readFileSync(join(dir, "addresses.json"), "utf8"))).toMatchObject({
      "ns/shop/sa/web cart.shop 80": first[0],
    });
    expect(readdirSync(dir)).toEqual(["addresses.json"]);
  });

  it("lets several processes agree", async () => {
    const dir = tempDir();
    const names = ["a", "b", "c", "d", "e", "f"];
    const answers = await Promise.all(
      names.map((_, turn) => {
        const keys = [...names.slice(turn), ...names.slice(0, turn)].map((name) => key(name));
        return book(dir).allocate(keys);
      }),
    );
    const byName = answers.map((answer, turn) => {
      const addresses = unwrap(answer);
      return names.map((_, index) => addresses[(index - turn + names.length) % names.length]);
    });
    for (const addresses of byName) expect(addresses).toEqual(byName[0]);
    expect(new Set(byName[0]).size).toBe(names.length);
  });

  it("neither locks nor writes for what is known already", async () => {
    const dir = tempDir();
    unwrap(await book(dir).allocate([key("web")]));
    writeFileSync(join(dir, "addresses.lock"), "1 elsewhere held");
    expect((await book(dir).allocate([key("web")])).ok).toBe(true);
    expect(unwrap(await book(tempDir()).allocate([]))).toEqual([]);
  });

  it("passes over ports where somebody listens, also one that shares its port", async () => {
    const dir = tempDir();
    const [first] = unwrap(await book(dir).allocate([key("probe")]));
    const port = Number(first?.split(":")[1]);
    const other = tempDir();
    for (const reusePort of [false, true]) {
      const server = await listen(port + 1, reusePort);
      const free: number[] = [];
      // The book's own test of ports, asked only about this one.
      const watching = openAddressBook({ stateDir: dir, clock: systemClock });
      const [next] = unwrap(await watching.allocate([key(`after-${reusePort}`)]));
      free.push(Number(next?.split(":")[1]));
      expect(free).not.toContain(port + 1);
      await new Promise((resolve) => server.close(resolve));
    }
    expect(existsSync(join(other, "addresses.json"))).toBe(false);
  });

  it("begins elsewhere for another state directory, so that two clusters do not race for one port", async () => {
    const starts = await Promise.all(
      Array.from(
        { length: 4 },
        async () => unwrap(await book(tempDir(), async () => true).allocate([key("web")]))[0],
      ),
    );
    expect(new Set(starts).size).toBe(4);
  });

  it("says so when no port is free", async () => {
    expect(await book(tempDir(), async () => false).allocate([key("web")])).toMatchObject({
      ok: false,
      error: { name: "port_in_use" },
    });
  });

  it.each(["{ half", "[]x", "7"])("does not guess what a damaged file (%s) said", async (text) => {
    const dir = tempDir();
    writeFileSync(join(dir, "addresses.json"), text);
    expect(await book(dir).allocate([key("web")])).toMatchObject({
      ok: false,
      error: { name: "state_unusable", detail: expect.stringContaining("damaged") },
    });
  });

  it("passes over entries that are no addresses of this machine", async () => {
    const dir = tempDir();
    const entries = { "ns/shop/sa/web cart.shop 80": "10.0.0.1:80", "ns/shop/sa/b cart.shop 80": 7 };
    writeFileSync(join(dir, "addresses.json"), JSON.stringify(entries));
    expect(unwrap(await book(dir).allocate([key("web")]))[0]).toMatch(/^127\.0\.0\.1:/);
  });
});
