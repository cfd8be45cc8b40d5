const LINE = 64;

export function encodePem(label: string, der: Buffer): string {
  const lines = der.toString("base64").match(new RegExp(`.{1,${LINE}}`, "g")) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** Every block of `label` in `text`, or `undefined` where one is not strict base64 or anything else stands there. */
export function decodePem(label: string, text: string): Buffer[] | undefined {
  const blocks: Buffer[] = [];
  const begin = `-----BEGIN ${label}-----`;
  const end = `-----END ${label}-----`;
  for (let rest = text.trim(); rest !== ""; ) {
    const stop = rest.indexOf(end);
    if (!rest.startsWith(begin) || stop === -1) return undefined;
    const der = strictBase64(rest.slice(begin.length, stop).replace(/[\r\n]/g, ""));
    if (der === undefined || der.length === 0) return undefined;
    blocks.push(der);
    rest = rest.slice(stop + end.length).trim();
  }
  return blocks.length === 0 ? undefined : blocks;
}

/** Standard alphabet, padded, no stray bits: the one text that these bytes have. Buffer.from alone skips what it dislikes. */
export function strictBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : undefined;
}

/** URL alphabet, no padding, no stray bits (RFC 7515 §2). */
export function strictBase64Url(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64url");
  return bytes.toString("base64url") === text ? bytes : undefined;
}
