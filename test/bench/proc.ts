import { readFileSync, readdirSync } from "node:fs";

// USER_HZ: what the kernel counts process times in towards user space. It has been 100 on every Linux port for decades.
const TICKS_PER_SECOND = 100;

export interface ProcessStat {
  readonly pid: number;
  readonly command: string;
  readonly parent: number;
  /** User plus system time of all threads, finished ones included, in microseconds. */
  readonly cpuMicros: number;
}

/** Reads one line of /proc/<pid>/stat. The command may hold spaces and brackets, so fields count from its *last* ")". */
export function parseStat(line: string): ProcessStat {
  const open = line.indexOf("(");
  const close = line.lastIndexOf(")");
  if (open < 0 || close < open) throw new Error(`not a line of /proc/<pid>/stat: ${line}`);
  const fields = line.slice(close + 2).split(" ");
  // proc(5) numbers: 4 ppid, 14 utime, 15 stime; `fields` starts at number 3.
  const at = (number: number): number => Number(fields[number - 3]);
  return {
    pid: Number(line.slice(0, open)),
    command: line.slice(open + 1, close),
    parent: at(4),
    cpuMicros: ((at(14) + at(15)) * 1e6) / TICKS_PER_SECOND,
  };
}

export function parseRssKiB(status: string): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(status);
  return match === null ? 0 : Number(match[1]);
}

/** Every pid whose chain of parents reaches one of `roots`, the roots included. */
export function descendants(all: readonly ProcessStat[], roots: readonly number[]): number[] {
  const found = new Set(roots);
  for (let size = -1; size !== found.size; ) {
    size = found.size;
    for (const stat of all) if (found.has(stat.parent)) found.add(stat.pid);
  }
  return [...found].filter((pid) => all.some((stat) => stat.pid === pid));
}

/** Time the core `cpu` did not idle, stolen time included, from /proc/stat. */
export function parseBusyMicros(stat: string, cpu: number): number {
  const line = stat.split("\n").find((candidate) => candidate.startsWith(`cpu${cpu} `));
  // user nice system idle iowait irq softirq steal
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] =
    line?.split(" ").slice(1).map(Number) ?? [];
  return ((user + nice + system + irq + softirq + steal) * 1e6) / TICKS_PER_SECOND;
}

export function busyMicros(cpu: number): number {
  return parseBusyMicros(readFileSync("/proc/stat", "utf8"), cpu);
}

export function readStat(pid: number): ProcessStat | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return undefined; // It ended between being listed and being read.
  }
}

export function readAllStats(): ProcessStat[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readStat(Number(name)))
    .filter((stat) => stat !== undefined);
}

export function rssMiB(pid: number): number {
  try {
    return parseRssKiB(readFileSync(`/proc/${pid}/status`, "utf8")) / 1024;
  } catch {
    return 0;
  }
}

/** CPU time of these processes and of all that descend from them, without those that have ended. */
export function familyMicros(roots: readonly number[]): number {
  return descendants(readAllStats(), roots).reduce((sum, pid) => sum + (readStat(pid)?.cpuMicros ?? 0), 0);
}
