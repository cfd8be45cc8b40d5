/** What the choice looks at. */
export interface Source {
  /** In our own cluster. */
  readonly local: boolean;
}

/** Our own cluster's, which stands first where there is one; else any, so that all of them share the load. */
export function pickSource<T extends Source>(sources: readonly T[], random: number): T | undefined {
  const [first] = sources;
  if (first === undefined || first.local || sources.length === 1) return first;
  return sources[Math.floor(random * sources.length)];
}
