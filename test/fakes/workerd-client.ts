import { Miniflare } from "miniflare";
import { afterAll } from "vitest";
import { bundle } from "../../infra/bundle/bundle.ts";
import type { ManualClock } from "./manual-clock.ts";

const ENTRY = new URL("./workerd-entry.ts", import.meta.url).pathname;
/** Of the workerd that is pinned; the runtime's behaviour is fixed by it. */
export const COMPATIBILITY_DATE = "2026-07-01";

let running: Promise<Miniflare> | undefined;

/** The worker as it is deployed, but for an entry that takes clock and settings from each request. */
async function start(): Promise<Miniflare> {
  const { code } = await bundle("worker", ENTRY);
  return new Miniflare({
    modules: [{ type: "ESModule", path: "worker.mjs", contents: code }],
    compatibilityDate: COMPATIBILITY_DATE,
    compatibilityFlags: ["nodejs_compat"],
  });
}

/** One workerd for all scenes of a test file. */
export async function serveOnWorkerd(
  settings: Readonly<Record<string, string>>,
  clock: ManualClock,
): Promise<(request: Request) => Promise<Response>> {
  if (running === undefined) {
    running = start();
    afterAll(async () => (await running)?.dispose());
  }
  const worker = await running;
  return async (request) => {
    const headers = new Headers(request.headers);
    headers.set("test-now", String(clock.now()));
    headers.set("test-settings", JSON.stringify(settings));
    const { method, body } = request;
    const init = {
      method,
      headers: Object.fromEntries(headers),
      ...(body === null ? {} : { body, duplex: "half" }),
    };
    const answer = await worker.dispatchFetch(request.url, init as never);
    const text = await answer.arrayBuffer();
    const empty = [204, 304].includes(answer.status);
    return new Response(empty ? null : text, {
      status: answer.status,
      headers: Object.fromEntries(answer.headers),
    });
  };
}
