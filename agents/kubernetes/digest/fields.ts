import { isIPv4 } from "node:net";
import { formatIp, parseIp } from "../../../federation/model/ip-address.ts";
import { isRecord } from "../api/object.ts";

/** Reading fields of objects that an API server validated, but of a version that may say less or more than we know. */
export type Fields = { readonly [field: string]: unknown };

export function fieldsOf(value: unknown): Fields {
  return isRecord(value) ? value : {};
}

export function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

export function integer(value: unknown): number | undefined {
  return typeof value === "number" && Number.isInteger(value) ? value : undefined;
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}

export function texts(value: unknown): readonly string[] {
  return list(value).filter((item): item is string => typeof item === "string");
}

/** In their one canonical form, as sockets tell them; what is no address (`None`, one with a zone) is left out. */
export function addresses(values: readonly string[]): readonly string[] {
  const canonical = values.flatMap((value) => {
    if (isIPv4(value)) return value;
    const address = parseIp(value);
    return address === undefined ? [] : formatIp(address);
  });
  return [...new Set(canonical)];
}

export function textMap(value: unknown): { readonly [key: string]: string } {
  return Object.fromEntries(
    Object.entries(fieldsOf(value)).filter(
      (entry): entry is [string, string] => typeof entry[1] === "string",
    ),
  );
}
