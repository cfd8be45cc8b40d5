/** Nanoseconds of the thread's CPU time per call. `run` makes so many calls and answers how many went as they should. */
export function cpuNs(calls: number, run: (calls: number) => number): number {
  const began = process.threadCpuUsage();
  const good = run(calls);
  const { user, system } = process.threadCpuUsage(began);
  if (good !== calls) throw new Error(`${good} of ${calls} calls went as they should`);
  return ((user + system) * 1_000) / calls;
}

/** Of several rounds the best, since other work on the machine only ever adds. */
export function bestNs(rounds: number, calls: number, run: (calls: number) => number): number {
  return Math.min(...Array.from({ length: rounds }, () => cpuNs(calls, run)));
}
