import { describe, expect, it } from "vitest";
import { descendants, parseBusyMicros, parseRssKiB, parseStat, type ProcessStat, readStat } from "./proc.ts";

const LINE =
  "4711 (nginx: w) (x) S 4700 4700 4700 0 -1 4194624 300 0 0 0 1234 66 7 8 20 0 1 0 12345 99999744 2048 18446744073709551615";

function stat(pid: number, parent: number): ProcessStat {
  return { pid, parent, command: "x", cpuMicros: 0 };
}

describe("/proc readers", () => {
  it("counts fields from the last bracket, so a command may hold brackets and spaces", () => {
    expect(parseStat(LINE)).toEqual({
      pid: 4711,
      command: "nginx: w) (x",
      parent: 4700,
      cpuMicros: 13_000_000,
    });
  });

  it("leaves out the time of waited-for children, which were never part of the chain", () => {
    expect(parseStat(LINE.replace(" 7 8 20 ", " 70000 80000 20 ")).cpuMicros).toBe(13_000_000);
  });

  it("refuses a line without a command", () => {
    expect(() => parseStat("1 2 3")).toThrow(/not a line/);
  });

  it("reads the resident set, and zero for a process that has none left", () => {
    expect(parseRssKiB("VmPeak:\t  9 kB\nVmRSS:\t   71512 kB\nRssAnon:\t 1 kB\n")).toBe(71_512);
    expect(parseRssKiB("State:\tZ (zombie)\n")).toBe(0);
  });

  it("finds workers of workers in whatever order the processes are listed", () => {
    const all = [stat(30, 20), stat(20, 10), stat(10, 1), stat(40, 1)];
    expect(descendants(all, [10]).sort()).toEqual([10, 20, 30]);
  });

  it("counts everything a core did except idling and waiting for a disk", () => {
    const text =
      "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\ncpu1 100 20 3 5000 6000 4 50 600 70 80\n";
    expect(parseBusyMicros(text, 1)).toBe(7_770_000);
    expect(parseBusyMicros(text, 7)).toBe(0);
  });

  it("drops a root that has ended", () => {
    expect(descendants([stat(10, 1)], [10, 99])).toEqual([10]);
  });

  it.runIf(process.platform === "linux")("reads this very process", () => {
    expect(readStat(process.pid)?.pid).toBe(process.pid);
  });
});
