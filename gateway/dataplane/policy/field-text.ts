/**
 * Fields are octets (RFC 9110 §5.5) and arrive as one character for each; rules are written as text. Both meet as UTF-8, which is
 * what clients send where they send more than ASCII.
 */

/** A text as a field carries it. */
export function octetsOf(text: string): string {
  if (isAscii(text)) return text;
  try {
    return encodeURIComponent(text).replace(/%([0-9A-F]{2})/g, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
  } catch {
    // Half a character: no field has it.
    return text;
  }
}

/** The text that a field carries; octets that are none are taken as they stand. */
export function textOf(octets: string): string {
  if (isAscii(octets)) return octets;
  let escaped = "";
  for (let at = 0; at < octets.length; at++)
    escaped += `%${octets.charCodeAt(at).toString(16).padStart(2, "0")}`;
  try {
    return decodeURIComponent(escaped);
  } catch {
    return octets;
  }
}

function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0x7f) return false;
  return true;
}
