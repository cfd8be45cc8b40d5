/** A process of another user counts as alive: it may still hold what it claimed. */
export function isProcessAlive(pid: number): boolean {
  // 0 and negative numbers name process groups, of which there always is one.
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
