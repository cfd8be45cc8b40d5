/**
 * Whether what clients saw of a registry can be explained by one order of its changes that respects real time
 * (linearizability, Herlihy and Wing 1990). The registry names that order itself: each change has a revision. So nothing
 * is searched for: the claim is checked, by replaying the audit trail.
 */
export interface Write {
  readonly action: "resource.apply" | "resource.delete" | "cluster.register";
  readonly target: string;
  /** What an apply wrote. */
  readonly value?: string;
  readonly invoked: number;
  /** Absent: the client never heard whether it happened. */
  readonly returned?: number;
  /** Where the answer told it. */
  readonly revision?: number;
}

export interface Read {
  readonly invoked: number;
  readonly returned: number;
  readonly revision: number;
  readonly content: ReadonlyMap<string, string>;
}

export interface AuditEntry {
  readonly revision: number;
  readonly action: string;
  readonly targets: readonly string[];
}

export interface History {
  readonly writes: readonly Write[];
  readonly reads: readonly Read[];
  readonly audit: readonly AuditEntry[];
  /** Of actions that the clients of this history made; others are somebody else's. */
  readonly actions: ReadonlySet<string>;
}

/** What contradicts the claim; nothing: it holds. */
export function checkHistory(history: History): readonly string[] {
  const gaps = revisionGaps(history.audit);
  const { placed, problems } = placeWrites(history);
  return [...gaps, ...problems, ...orderViolations(history, placed), ...wrongReads(history, placed)];
}

type Placed = ReadonlyMap<Write, number>;

function revisionGaps(audit: readonly AuditEntry[]): readonly string[] {
  return audit.flatMap(({ revision }, index) => {
    const expected = (audit[index - 1]?.revision ?? 0) + 1;
    return revision === expected ? [] : [`revision ${expected} is missing before ${revision}`];
  });
}

/** Each write that was acknowledged is in the trail once, one in doubt at most once, and nothing else is. */
function placeWrites({ writes, audit, actions }: History): {
  readonly placed: Placed;
  readonly problems: readonly string[];
} {
  const problems: string[] = [];
  const placed = new Map<Write, number>();
  const open = new Map<string, AuditEntry[]>();
  for (const record of audit) {
    if (!actions.has(record.action)) continue;
    const key = `${record.action} ${record.targets[0] ?? ""}`;
    open.set(key, [...(open.get(key) ?? []), record]);
  }
  const take = (write: Write, fits: (record: AuditEntry) => boolean): boolean => {
    const candidates = open.get(`${write.action} ${write.target}`) ?? [];
    const record = candidates.find(fits);
    if (record === undefined) return false;
    candidates.splice(candidates.indexOf(record), 1);
    placed.set(write, record.revision);
    return true;
  };
  const describe = ({ action, target }: Write): string => `${action} ${target}`;
  const known = writes.filter(({ revision }) => revision !== undefined);
  for (const write of known) {
    if (!take(write, ({ revision }) => revision === write.revision))
      problems.push(`lost: ${describe(write)}, acknowledged at revision ${write.revision}`);
  }
  for (const write of writes.filter(
    ({ revision, returned }) => revision === undefined && returned !== undefined,
  ))
    if (!take(write, () => true)) problems.push(`lost: ${describe(write)}, acknowledged`);
  for (const write of writes.filter(({ returned }) => returned === undefined)) take(write, () => true);
  for (const [key, records] of open)
    for (const { revision } of records) problems.push(`twice, or nobody's: ${key} at revision ${revision}`);
  return { placed, problems };
}

/** What began after something had ended must come after it. */
function orderViolations({ writes, reads }: History, placed: Placed): readonly string[] {
  const ended = [
    ...writes.flatMap((write) => {
      const revision = placed.get(write);
      return write.returned === undefined || revision === undefined ? [] : [{ at: write.returned, revision }];
    }),
    ...reads.map(({ returned, revision }) => ({ at: returned, revision })),
  ].sort((a, b) => a.at - b.at);
  const began = [
    ...writes.flatMap((write) => {
      const revision = placed.get(write);
      return revision === undefined
        ? []
        : [{ at: write.invoked, revision, strict: true, what: write.target }];
    }),
    ...reads.map(({ invoked, revision }) => ({ at: invoked, revision, strict: false, what: "a read" })),
  ].sort((a, b) => a.at - b.at);
  const violations: string[] = [];
  let highest = 0;
  let next = 0;
  for (const { at, revision, strict, what } of began) {
    for (let end = ended[next]; end !== undefined && end.at < at; end = ended[++next])
      highest = Math.max(highest, end.revision);
    if (revision < highest || (strict && revision === highest))
      violations.push(`${what} at revision ${revision} began after revision ${highest} had been seen`);
  }
  return violations;
}

function wrongReads({ reads, audit, actions }: History, placed: Placed): readonly string[] {
  const byRevision = new Map([...placed].map(([write, revision]) => [revision, write]));
  const content = new Map<string, string>();
  const violations: string[] = [];
  const waiting = [...reads].sort((a, b) => a.revision - b.revision);
  const judge = (upTo: number): void => {
    for (let read = waiting[0]; read !== undefined && read.revision < upTo; read = waiting[0]) {
      waiting.shift();
      const difference = differenceOf(content, read.content);
      if (difference !== undefined) violations.push(`a read of revision ${read.revision}: ${difference}`);
    }
  };
  for (const record of audit) {
    judge(record.revision);
    const write = byRevision.get(record.revision);
    if (!actions.has(record.action) || write === undefined) continue;
    if (write.action === "resource.delete") content.delete(write.target);
    else if (write.action === "resource.apply") content.set(write.target, write.value ?? "");
  }
  judge(Number.POSITIVE_INFINITY);
  return violations;
}

function differenceOf(
  expected: ReadonlyMap<string, string>,
  seen: ReadonlyMap<string, string>,
): string | undefined {
  for (const [key, value] of expected)
    if (seen.get(key) !== value) return `${key} is ${seen.get(key) ?? "absent"}, was written as ${value}`;
  for (const key of seen.keys())
    if (!expected.has(key)) return `${key} is there, and was deleted or never written`;
  return undefined;
}
