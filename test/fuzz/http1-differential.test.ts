import { createHook } from "node:async_hooks";
import { expect, test } from "vitest";
import { until } from "../fakes/until.ts";
import { FRAMING_ATTACKS, transferEncodings } from "./attacks.ts";
import { runCampaign } from "./campaign.ts";
import { compareRequest, compareResponse } from "./compare.ts";
import { judgeRequests } from "./llhttp.ts";

test("on 20,000 random messages nothing is accepted that llhttp refuses, and no length is read otherwise", () => {
  const campaign = runCampaign(1, 20_000);
  expect(campaign.findings).toEqual([]);
  // A campaign in which nearly everything is refused would prove nothing.
  expect(campaign.accepted).toBeGreaterThan(5_000);
  expect(campaign.refused).toBeGreaterThan(5_000);
});

test.each(FRAMING_ATTACKS)("the attack %j is refused, or forwarded as both sides read it", (lines) => {
  for (const version of ["1.0", "1.1"]) {
    const request = compareRequest(`POST / HTTP/${version}\r\nHost: x\r\n${lines}\r\n`);
    expect(request).toHaveProperty("ok");
    expect(compareResponse(`HTTP/${version} 200 OK\r\n${lines}\r\n`, "GET")).toHaveProperty("ok");
  }
});

test("Transfer-Encoding in 2,376 disguises is refused, or forwarded as both sides read it, alone and with a length", () => {
  const attacks = transferEncodings();
  expect(attacks).toHaveLength(2_376);
  for (const line of attacks) {
    for (const length of ["", "Content-Length: 5\r\n"]) {
      expect(compareRequest(`POST / HTTP/1.1\r\nHost: x\r\n${length}${line}\r\n`)).toHaveProperty("ok");
      expect(compareResponse(`HTTP/1.1 200 OK\r\n${line}${length}\r\n`, "GET")).toHaveProperty("ok");
    }
  }
});

test("a judgement lets go of its parser, so that millions of them fit into memory", async () => {
  const parsers = new Set<number>();
  let made = 0;
  const hook = createHook({
    init(id, type) {
      if (type === "HTTPINCOMINGMESSAGE") parsers.add(id);
      made = Math.max(made, parsers.size);
    },
    destroy: (id) => void parsers.delete(id),
  }).enable();
  for (let round = 0; round < 10; round++) judgeRequests(Buffer.from("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
  await until("all are gone", 5_000, () => (parsers.size === 0 ? true : undefined));
  hook.disable();
  expect(made).toBe(10);
});
