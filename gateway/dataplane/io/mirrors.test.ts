import { expect, test } from "vitest";
import { accepted, withHost } from "../../../test/fakes/http1-text.ts";
import type { EntryForward } from "../routing/decide.ts";
import type { Entry } from "./entry.ts";
import type { Http1Exchange } from "./http1-exchange.ts";
import type { Http2Pool } from "./http2-pool.ts";
import { Mirrors } from "./mirrors.ts";
import type { StreamPool } from "./stream-pool.ts";

function scene() {
  const counters = { mirrors: { value: 0 }, mirrorsBusy: { value: 0 }, mirrorsPaused: { value: 0 } };
  const exchanges: Http1Exchange[] = [];
  const stream = { begin: (exchange: Http1Exchange) => exchanges.push(exchange), write: () => true };
  const pool = { take: () => stream } as unknown as StreamPool;
  const mirrors = new Mirrors({ counters } as unknown as Entry, () => pool);
  const target = (id: string) => ({ id }) as EntryForward;
  const copy = (nowMs: number, id = "shadow"): void =>
    mirrors.send(target(id), accepted(withHost("x")), "GET / HTTP/1.1\r\n\r\n", [], nowMs);
  const fail = (): void =>
    exchanges.pop()?.upstreamFailed(stream as never, { name: "upstream_reset", detail: "" });
  const http2 = {
    target: target("shadow2"),
    pick: () => ({ request: () => ({ end() {} }) }),
  } as unknown as Http2Pool;
  const copyHttp2 = (nowMs: number): void => mirrors.sendHttp2(http2, [], [], nowMs);
  return { counters, exchanges, copy, copyHttp2, fail };
}

test("copies to a target that only fails pause for a second, then one more is tried", () => {
  const { counters, copy, fail } = scene();
  for (let count = 0; count < 8; count++) {
    copy(5_000);
    fail();
  }
  copy(5_000);
  copy(5_999);
  expect(counters).toMatchObject({ mirrors: { value: 8 }, mirrorsPaused: { value: 2 } });
  copy(5_999, "another");
  copy(6_000);
  fail();
  copy(6_500);
  expect(counters).toMatchObject({ mirrors: { value: 10 }, mirrorsPaused: { value: 3 } });
});

test("one copy that arrives ends the count of those that failed", () => {
  const { counters, exchanges, copy, fail } = scene();
  for (let count = 0; count < 20; count++) {
    copy(5_000);
    if (count % 7 === 6) exchanges.pop()?.responseDone();
    else fail();
  }
  expect(counters.mirrorsPaused.value).toBe(0);
});

test("256 copies are under way at most, of both versions of HTTP together", () => {
  const { counters, copy, copyHttp2 } = scene();
  for (let count = 0; count < 255; count++) copy(5_000);
  copyHttp2(5_000);
  expect(counters).toMatchObject({ mirrors: { value: 256 }, mirrorsBusy: { value: 0 } });
  copyHttp2(5_000);
  copy(5_000);
  expect(counters).toMatchObject({ mirrors: { value: 256 }, mirrorsBusy: { value: 2 } });
});
