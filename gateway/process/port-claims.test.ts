import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openPortClaims } from "./port-claims.ts";
import { isProcessAlive } from "./process-alive.ts";

describe("port claims", () => {
  let stateDir: string;
  beforeEach(() => {
    stateDir = mkdtempSync(join(tmpdir(), "isthmus-claims-"));
  });
  afterEach(() => rmSync(stateDir, { recursive: true }));

  it("shares a port that a live process of the same cluster claimed", () => {
    openPortClaims(stateDir, 10, () => true).claim(15_008);
    const successor = openPortClaims(stateDir, 11, (pid) => pid === 10);
    expect(successor.isShared(15_008)).toBe(true);
    expect(successor.isShared(15_009)).toBe(false);
  });

  it("of one port do not depend on how many there are of others", () => {
    const claims = openPortClaims(stateDir, 10, () => true);
    for (const port of [15_008, 15_009, 15_010]) claims.claim(port);
    const asked: number[] = [];
    openPortClaims(stateDir, 11, (pid) => asked.push(pid) > 0).isShared(15_009);
    expect(asked).toEqual([10]);
  });

  it("does not share the port of a dead process, and forgets its claim", () => {
    openPortClaims(stateDir, 10, () => true).claim(15_008);
    expect(openPortClaims(stateDir, 11, () => false).isShared(15_008)).toBe(false);
    expect(readdirSync(join(stateDir, "ports", "15008"))).toEqual([]);
  });

  it("knows its own process to be alive and an impossible one not", () => {
    expect(isProcessAlive(process.pid)).toBe(true);
    expect(isProcessAlive(2 ** 30)).toBe(false);
  });
});
