/** A head and part of its body in one piece: two writes would be two system calls, each dearer than copying a small body. */
export function followedBy(head: Buffer | string, body: Buffer, from: number, to: number): Buffer {
  const whole = Buffer.allocUnsafe(head.length + to - from);
  if (typeof head === "string") whole.write(head, 0, "latin1");
  else head.copy(whole, 0);
  body.copy(whole, head.length, from, to);
  return whole;
}

/** For a client of HTTP/1.0, which knows no chunks. */
export function withoutChunked(head: string): string {
  return head.replace(/^transfer-encoding:[^\r\n]*\r\n/im, "");
}
