import { expect, test } from "vitest";
import { FRAMING_ATTACKS, transferEncodings } from "./attacks.ts";
import { runCampaign } from "./campaign.ts";
import { compareRequest, compareResponse } from "./compare.ts";

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
