/** Changes of a head's fields: first those are left out that are named, in lower case, then lines are added. */
export interface FieldEdits {
  readonly dropped: ReadonlySet<string>;
  readonly addedText: string;
}

/** `head` is a start line and its fields, without the final empty line. */
export function editFields(head: string, { dropped, addedText }: FieldEdits): string {
  if (dropped.size === 0) return head + addedText;
  let kept = "";
  let runStart = 0;
  let at = head.indexOf("\r\n") + 2;
  while (at < head.length) {
    const end = head.indexOf("\r\n", at) + 2;
    const colon = head.indexOf(":", at);
    if (dropped.has(head.slice(at, colon).toLowerCase())) {
      kept += head.slice(runStart, at);
      runStart = end;
    }
    at = end;
  }
  return kept + head.slice(runStart) + addedText;
}

/** The request line with another target. */
export function withTarget(head: string, target: string): string {
  const start = head.indexOf(" ") + 1;
  return head.slice(0, start) + target + head.slice(head.indexOf(" ", start));
}

/** `Host` says another name; a head of HTTP/1.0 may have had none. */
export function withHost(head: string, host: string): string {
  return editFields(head, { dropped: HOST_ONLY, addedText: `host: ${host}\r\n` });
}

const HOST_ONLY: ReadonlySet<string> = new Set(["host"]);
