import { createServer } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { type AdminHandlers, type AdminServer, openAdminServer } from "./admin-server.ts";

const HANDLERS: AdminHandlers = {
  ready: () => ({ ready: true, reason: "serving revision 7" }),
  metrics: () => "isthmus_up 1\n",
  status: () => ({ revision: 7 }),
  probe: async ({ workload }) => ({
    ok: true,
    latencyMs: 1.2,
    caller: `spiffe://east.demo.mesh/${workload}`,
  }),
};

const open: AdminServer[] = [];

async function serve(handlers: Partial<AdminHandlers> = {}): Promise<string> {
  const server = await openAdminServer({ host: "127.0.0.1", port: 0 }, { ...HANDLERS, ...handlers });
  if (!server.ok) throw new Error(server.error.detail);
  open.push(server.value);
  return `http://${server.value.address}`;
}

afterEach(() => {
  for (const server of open.splice(0)) server.close();
});

describe("openAdminServer", () => {
  it("answers health, readiness, metrics and status", async () => {
    const base = await serve();
    expect(await (await fetch(`${base}/healthz`)).text()).toBe("ok\n");
    expect(await (await fetch(`${base}/readyz`)).text()).toBe("serving revision 7\n");
    const metrics = await fetch(`${base}/metrics`);
    expect(metrics.headers.get("content-type")).toContain("version=0.0.4");
    expect(await metrics.text()).toBe("isthmus_up 1\n");
    expect(await (await fetch(`${base}/status`)).json()).toEqual({ revision: 7 });
  });

  it("says 503 and why while not ready, and stays healthy", async () => {
    const base = await serve({ ready: () => ({ ready: false, reason: "draining" }) });
    const ready = await fetch(`${base}/readyz`);
    expect([ready.status, await ready.text()]).toEqual([503, "draining\n"]);
    expect((await fetch(`${base}/healthz`)).status).toBe(200);
  });

  it("hands a well-formed probe over and refuses others with the usage", async () => {
    const base = await serve();
    const good = await fetch(`${base}/probe?workload=ns/shop/sa/web&service=cart.shop&port=80`);
    expect(await good.json()).toEqual({
      ok: true,
      latencyMs: 1.2,
      caller: "spiffe://east.demo.mesh/ns/shop/sa/web",
    });
    for (const query of [
      "",
      "?workload=a&service=b",
      "?workload=a&service=b&port=x",
      "?workload=a&service=b&port=0",
    ]) {
      expect((await fetch(`${base}/probe${query}`)).status).toBe(400);
    }
  });

  it("answers 500 when a handler fails, and lives on", async () => {
    const base = await serve({ probe: () => Promise.reject(new Error("no tunnel")) });
    expect((await fetch(`${base}/probe?workload=a&service=b&port=1`)).status).toBe(500);
    expect((await fetch(`${base}/healthz`)).status).toBe(200);
  });

  it("refuses other methods, other paths and pages of other sites", async () => {
    const base = await serve();
    expect((await fetch(`${base}/healthz`, { method: "POST" })).status).toBe(405);
    expect((await fetch(`${base}/`)).status).toBe(404);
    expect((await fetch(`${base}/status`, { headers: { origin: "https://evil.example" } })).status).toBe(403);
  });

  it("answers HEAD without a body", async () => {
    const base = await serve();
    const head = await fetch(`${base}/healthz`, { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
  });

  it("names the address that is taken", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const address = other.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const result = await openAdminServer({ host: "127.0.0.1", port }, HANDLERS);
    other.close();
    expect(result).toMatchObject({
      ok: false,
      error: { name: "port_in_use", detail: `127.0.0.1:${port} is taken` },
    });
  });
});
