import * as z from "zod";
// By name: the namespace `z.core` as a value would bring every locale into a bundle (400 KB).
import { _check as createCheck } from "zod/v4/core";
import type { Issue } from "../problem.ts";
import { err, ok, type Result } from "../result.ts";
import { nearest } from "./nearest.ts";

/** Beyond this nobody reads on, and a hostile document must not make a large answer. */
const MAX_ISSUES = 100;
const MAX_SHOWN = 60;

/**
 * Validates a whole document and reports every mistake with its field path. Zod's own messages are replaced because they
 * neither name the nearest known word nor say what was given.
 */
export function decode<T>(schema: z.ZodType<T>, input: unknown): Result<T, readonly Issue[]> {
  const knownFields = new Map<string, readonly string[]>();
  const parsed = schema.safeParse(input, {
    error: (raw) => {
      if (raw.code === "unrecognized_keys") knownFields.set(fieldPath(raw.path ?? []), fieldsOf(raw.inst));
      return message(raw);
    },
    reportInput: true,
  });
  if (parsed.success) return ok(parsed.data);
  const issues = parsed.error.issues.flatMap((issue) => toIssues(issue, knownFields));
  return err(issues.length > MAX_ISSUES ? [...issues.slice(0, MAX_ISSUES), more(issues.length)] : issues);
}

function toIssues(issue: z.core.$ZodIssue, knownFields: ReadonlyMap<string, readonly string[]>): Issue[] {
  const path = fieldPath(issue.path);
  if (issue.code === "unrecognized_keys") {
    const known = knownFields.get(path) ?? [];
    return issue.keys.map((key) =>
      withSuggestion(fieldPath([...issue.path, key]), `unknown field ${shown(key)}`, nearest(key, known)),
    );
  }
  return [withSuggestion(path, issue.message, suggestedValue(issue))];
}

/** The nearest permitted word, where one of a few words was expected. */
function suggestedValue(issue: z.core.$ZodIssue): string | undefined {
  if (issue.code === "invalid_value")
    return typeof issue.input === "string" ? nearest(issue.input, issue.values.map(String)) : undefined;
  if (issue.code !== "invalid_union" || issue.discriminator === undefined) return undefined;
  const given = discriminatorValue(issue.input, issue.discriminator);
  return typeof given === "string" ? nearest(given, discriminatorOptions(issue)) : undefined;
}

/** What is wrong, for the codes that say it better than zod; `undefined` leaves zod's own words. */
function message(raw: z.core.$ZodRawIssue): string | undefined {
  if (raw.code === "invalid_type")
    return raw.input === undefined
      ? "is required"
      : `expected ${noun(raw.expected)}, got ${shown(raw.input)}`;
  if (raw.code === "invalid_value") return expectedOneOf(raw.values.map(String), raw.input);
  if (raw.code === "invalid_union" && raw.discriminator !== undefined)
    return expectedOneOf(discriminatorOptions(raw), discriminatorValue(raw.input, raw.discriminator));
  if (raw.code === "too_small") return sizeMessage(raw.origin, "at least", raw.minimum);
  if (raw.code === "too_big") return sizeMessage(raw.origin, "at most", raw.maximum);
  return undefined;
}

function expectedOneOf(words: readonly string[], given: unknown): string {
  const choice = words.join(" or ");
  return given === undefined ? `is required: ${choice}` : `expected ${choice}, got ${shown(given)}`;
}

function sizeMessage(origin: string, bound: string, limit: number | bigint): string {
  if (origin === "array") return `must have ${bound} ${limit} items`;
  if (origin === "string") return `must have ${bound} ${limit} characters`;
  return `must be ${bound} ${limit}`;
}

function noun(expected: string): string {
  if (expected === "int") return "a whole number";
  return /^[aeiou]/.test(expected) ? `an ${expected}` : `a ${expected}`;
}

function discriminatorValue(input: unknown, key: string): unknown {
  return typeof input === "object" && input !== null
    ? Object.entries(input).find(([k]) => k === key)?.[1]
    : undefined;
}

/** Zod sets them on its issue, though not in the issue's type. */
function discriminatorOptions(issue: object): readonly string[] {
  const options: unknown = "options" in issue ? issue.options : undefined;
  return Array.isArray(options) ? options.map(String) : [];
}

function fieldsOf(schema: unknown): readonly string[] {
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

function withSuggestion(path: string, text: string, suggestion: string | undefined): Issue {
  return suggestion === undefined ? { path, message: text } : { path, message: text, suggestion };
}

function more(total: number): Issue {
  return { path: "", message: `${total - MAX_ISSUES} more mistakes are not listed` };
}

const PLAIN_KEY = /^[A-Za-z_][A-Za-z0-9_-]{0,63}$/;

/** `spec.ports[2].port`; keys that are no plain words are quoted, so that a path is always one line of plain text. */
export function fieldPath(path: readonly PropertyKey[]): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else if (typeof part === "string" && PLAIN_KEY.test(part)) text += text === "" ? part : `.${part}`;
    else text += `[${shown(String(part))}]`;
  }
  return text;
}

/** A value from outside, fit for a message: one line, short, no control characters. */
export function shown(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "an object";
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  const clean = text.replace(/[^\x20-\x7e]/g, "?");
  return clean.length > MAX_SHOWN ? `${clean.slice(0, MAX_SHOWN)}…` : clean;
}

/**
 * A rule over a whole list or object that runs even where other mistakes were found, so that all are told at once; the
 * rule therefore sees values that may not have the right shape.
 */
export function alsoCheck<S extends z.ZodType>(
  schema: S,
  rule: (value: unknown, report: (path: readonly PropertyKey[], text: string) => void) => void,
): S {
  const check = createCheck<z.output<S>>((payload) => {
    rule(payload.value, (path, text) =>
      payload.issues.push({ code: "custom", message: text, path: [...path], input: payload.value }),
    );
  });
  check._zod.def.when = () => true;
  return schema.check(check);
}

/** Reports every item whose key an earlier item has already. */
export function uniqueBy(noun: string, key: (item: object) => string | undefined) {
  return (value: unknown, report: (path: readonly PropertyKey[], text: string) => void): void => {
    if (!Array.isArray(value)) return;
    const first = new Map<string, number>();
    value.forEach((item: unknown, index) => {
      if (typeof item !== "object" || item === null) return;
      const name = key(item);
      if (name === undefined) return;
      const earlier = first.get(name);
      if (earlier === undefined) first.set(name, index);
      else report([index], `duplicate ${noun} ${shown(name)}: item ${earlier} has it already`);
    });
  };
}

/** A text field of a value that may not have the right shape. */
export function textField(item: object, field: string): string | undefined {
  const value: unknown = Object.getOwnPropertyDescriptor(item, field)?.value;
  return typeof value === "string" ? value : undefined;
}
